//! `mrpf prune`: cuts a saved network.

use mrpf_api::sensitivity::ModuleSensitivity;
use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::Instant;

use super::Console;
use super::dry_run::dry_run;
use super::open::open_model;
use crate::cli::PruneArgs;
use crate::pipeline::Session;

/// Prunes once to the asked ratio, without fine-tuning, and attacks the result.
pub fn prune(args: &PruneArgs, console: &Console<'_>) -> Result<()> {
    if args.dry_run {
        return dry_run(args, console);
    }
    let start = Instant::now();
    let given = args.sensitivity.as_deref().map(read_sensitivity).transpose()?;
    let (opened, network) = open_model(&args.model, "prune", console)?;
    let session = Session::open(opened, 3, console.events, console.watcher)?;
    session.check_fits(&network)?;
    let mut variant = session.experiment.variants().swap_remove(0);
    variant.prune.rounds = 1;
    variant.finetune.epochs = 0;
    let metric = variant.prune.sensitivity.clone();
    let modules = match (given, variant.needs_sensitivity()?) {
        (Some(modules), _) => modules,
        (None, true) => session.sensitivities(&metric.name, &metric, &network)?,
        (None, false) => Vec::new(),
    };
    let finished = session.pruned_and_finetuned(&variant, &network, &modules)?;
    let row = session.variant_row(&variant, &finished)?;
    session.finish(&[row], start.elapsed().as_secs_f64())
}

/// Reads what `mrpf sensitivity` wrote.
pub(super) fn read_sensitivity(path: &Path) -> Result<Vec<ModuleSensitivity>> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Checkpoint, format!("{}: {why}", path.display()))
            .context("reading sensitivities")
            .hint("expected a file that `mrpf sensitivity` made")
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}
