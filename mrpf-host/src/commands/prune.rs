//! `mrpf prune`: cuts a saved network.

use mrpf_api::network::Declaration;
use mrpf_api::sensitivity::ModuleSensitivity;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Console;
use super::dry_run::dry_run;
use super::foresee::foresee;
use super::open::open_fresh;
use crate::cli::{ModelArgs, PruneArgs};
use crate::experiment::Ahead;
use crate::files::{JSON, read_text};
use crate::pipeline::{Session, read_model};
use crate::run_dir::check_named_file;

/// Prunes once to the asked ratio, without fine-tuning, and attacks the result.
pub fn prune(args: &PruneArgs, console: &Console<'_>) -> Result<()> {
    if args.dry_run {
        return dry_run(args, console);
    }
    let start = Instant::now();
    let network = read_model(&args.model.model)?.to_device(&console.device.device)?;
    let read = |path: &PathBuf| read_sensitivity(path, network.declaration());
    let given = args.sensitivity.as_ref().map(read).transpose()?;
    let ModelArgs { model, experiment, shared } = &args.model;
    let opened = open_fresh(model, experiment, shared, |_| Ok(()), console)?;
    let mut variant = opened.experiment.variants().swap_remove(0);
    variant.prune.rounds = 1;
    variant.finetune.epochs = 0;
    let measures = given.is_none() && variant.needs_sensitivity()?;
    // The network is cut and attacked.
    let session = Session::open(opened, 2 + usize::from(measures), console.events, console.watcher)?;
    session.check_fits(&network)?;
    let metric = variant.prune.sensitivity.clone();
    let ahead = Ahead {
        variants: std::slice::from_ref(&variant),
        attacks: Some(&session.experiment.evaluate),
        ..Ahead::default()
    };
    foresee(&session, network.declaration(), &ahead)?;
    let modules = match (given, measures) {
        (Some(modules), _) => modules,
        (None, true) => session.sensitivities(&metric.name, &metric, &network)?,
        (None, false) => Vec::new(),
    };
    let finished = session.pruned_and_finetuned(&variant, &network, &modules)?;
    let row = session.variant_row(&variant, &finished)?;
    session.finish(&[row], start.elapsed().as_secs_f64())
}

/// Reads what `mrpf sensitivity` wrote about a network with the modules of `declaration`.
pub(super) fn read_sensitivity(path: &Path, declaration: &Declaration) -> Result<Vec<ModuleSensitivity>> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Checkpoint, format!("{}: {why}", path.display())).context("reading sensitivities")
    };
    let unreadable = |why: String| wrong(why).hint("expected a file that `mrpf sensitivity` made");
    let text = read_text(path, JSON).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    check_named_file(path, text.as_bytes()).context(|| "reading sensitivities".into())?;
    let modules: Vec<ModuleSensitivity> = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let found: BTreeSet<&str> = modules.iter().map(|module| module.module.as_str()).collect();
    let expected: BTreeSet<&str> = declaration.modules().map(|layer| layer.name.as_str()).collect();
    let why = match (found.difference(&expected).next(), expected.difference(&found).next()) {
        (Some(stranger), _) => format!("has a value for module `{stranger}`, which the network lacks"),
        (None, Some(missing)) => format!("lacks a value for module `{missing}` of the network"),
        (None, None) if found.len() < modules.len() => "has two values for the same module".into(),
        (None, None) => return Ok(modules),
    };
    Err(wrong(why).hint("sensitivities belong to one network; measure those of this one by `mrpf sensitivity`"))
}
