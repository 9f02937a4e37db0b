//! Opens what a command works on: settings, the run directory, a saved network.

use mrpf_api::network::Network;
use mrpf_api::{Context, Result};
use std::path::{Path, PathBuf};

use super::Console;
use crate::cli::{ModelArgs, RunArgs, Shared};
use crate::experiment::{Base, Experiment, Sources};
use crate::pipeline::{Opened, read_model};
use crate::run_dir::RunDir;

/// Settings and a fresh run directory, or those of the run to go on with.
pub fn open_run(args: &RunArgs, name: impl Fn(&Experiment) -> String, console: &Console<'_>) -> Result<Opened> {
    match &args.resume {
        Some(dir) => {
            let mut opened = reopen(dir, &args.shared, "", console)?;
            opened.name = name(&opened.experiment);
            Ok(opened)
        }
        None => {
            let experiment = load(&args.experiment, Base::BuiltIn, &args.shared, console)?;
            let name = name(&experiment);
            fresh(experiment, &args.shared, name, console)
        }
    }
}

/// The run to go on with, named after its experiment and `command`.
pub fn reopen(dir: &Path, shared: &Shared, command: &str, console: &Console<'_>) -> Result<Opened> {
    let about = || format!("resuming {}", dir.display());
    let dir = RunDir::open(dir)?;
    let mut experiment = dir.read_experiment().context(about)?;
    if let Some(data_dir) = &shared.data_dir {
        experiment.data.dir = Some(data_dir.clone());
    }
    experiment.plugins.extend_from_slice(console.plugin_files);
    experiment.open_plugins()?;
    experiment.check()?;
    dir.add_session(console.arguments, &console.device.name, console.events)?;
    let name = format!("{}-{command}", experiment.name);
    let goes_on = goes_on(&dir, console);
    Ok(Opened { experiment, dir, name, resumed: true, device: console.device.clone(), goes_on })
}

/// Settings for work on a saved network, changed as the command's own arguments say, and a fresh run directory.
pub fn open_fresh(
    model: &Path,
    files: &[PathBuf],
    shared: &Shared,
    command: &str,
    change: impl FnOnce(&mut Experiment),
    console: &Console<'_>,
) -> Result<Opened> {
    let mut experiment = load_for_model(model, files, shared, console)?;
    change(&mut experiment);
    experiment.check()?;
    let name = format!("{}-{command}", experiment.name);
    fresh(experiment, shared, name, console)
}

/// Settings, a fresh run directory and the saved network, on the device.
pub fn open_model(args: &ModelArgs, command: &str, console: &Console<'_>) -> Result<(Opened, Network)> {
    let network = read_model(&args.model)?.to_device(&console.device.device)?;
    let experiment = load_for_model(&args.model, &args.experiment, &args.shared, console)?;
    let name = format!("{}-{command}", experiment.name);
    Ok((fresh(experiment, &args.shared, name, console)?, network))
}

/// The settings of the run that the network lies in, if it lies in one and no file is given.
pub(super) fn load_for_model(
    model: &Path,
    files: &[PathBuf],
    shared: &Shared,
    console: &Console<'_>,
) -> Result<Experiment> {
    let run = model.parent().and_then(Path::parent).map(|run| run.join("experiment.toml"));
    match run.filter(|run| files.is_empty() && run.is_file()) {
        Some(run) => load(&[run], Base::Defaults, shared, console),
        None => load(files, Base::Defaults, shared, console),
    }
}

pub fn load(files: &[PathBuf], base: Base, shared: &Shared, console: &Console<'_>) -> Result<Experiment> {
    Experiment::load(&Sources {
        files,
        base,
        set: &shared.set,
        data: shared.data.as_deref(),
        data_dir: shared.data_dir.as_deref(),
        seed: shared.seed,
        plugins: console.plugin_files,
    })
}

fn fresh(experiment: Experiment, shared: &Shared, name: String, console: &Console<'_>) -> Result<Opened> {
    let dir = match &shared.out {
        Some(path) => RunDir::create(path)?,
        None => RunDir::create_numbered(Path::new("runs"), &name)?,
    };
    dir.write_experiment(&experiment)?;
    dir.write_provenance(&experiment, console.arguments, &console.device.name)?;
    let goes_on = goes_on(&dir, console);
    Ok(Opened { experiment, dir, name, resumed: false, device: console.device.clone(), goes_on })
}

/// The command that goes on with the work, where there is one.
fn goes_on(dir: &RunDir, console: &Console<'_>) -> Option<String> {
    const RESUMABLE: [&str; 3] = ["run", "train", "evaluate"];
    let command = console.arguments.iter().find(|argument| RESUMABLE.contains(&argument.as_str()))?;
    Some(format!("`mrpf {command} --resume {}` goes on from there", dir.path().display()))
}
