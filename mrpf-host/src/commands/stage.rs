//! `mrpf stage`: one stage of a comparison, in a process of its own.

use mrpf_api::Result;

use super::Console;
use crate::cli::StageArgs;
use crate::comparison::work;

/// Computes the stage and notes that it is done.
pub fn stage(args: &StageArgs, console: &Console<'_>) -> Result<()> {
    work(&args.dir, console.arguments, console.device, console.events, console.watcher)
}
