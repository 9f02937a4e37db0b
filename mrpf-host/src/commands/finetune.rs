//! `mrpf finetune`: trains a saved network further.

use mrpf_api::Result;
use std::time::Instant;

use super::Console;
use super::open::open_model;
use crate::cli::ModelArgs;
use crate::pipeline::Session;

/// Trains with the `finetune` settings and attacks the result.
pub fn finetune(args: &ModelArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let (opened, network) = open_model(args, "finetune", console)?;
    let session = Session::open(opened, 2, console.events, console.watcher)?;
    session.check_fits(&network)?;
    let settings = session.experiment.finetune.clone();
    let (network, training) = session.trained("finetune", "finetuned", "finetune", &settings, None, || Ok(network))?;
    let row = session.dense_row("finetuned", &network, &training)?;
    session.finish(&[row], start.elapsed().as_secs_f64())
}
