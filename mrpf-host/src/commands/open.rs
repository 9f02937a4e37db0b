//! Opens what a command works on: settings, the run directory, a saved network.

use mrpf_api::{Context, Result};
use std::path::{Path, PathBuf};

use super::Console;
use crate::cli::{RunArgs, Shared};
use crate::event::Event;
use crate::experiment::{Base, Chosen, Experiment, Sources};
use crate::pipeline::Opened;
use crate::run_dir::{Call, RunDir};

/// Settings and a fresh run directory, or those of the run to go on with.
pub fn open_run(args: &RunArgs, name: impl Fn(&Experiment) -> String, console: &Console<'_>) -> Result<Opened> {
    match &args.resume {
        Some(dir) => {
            let mut opened = reopen(dir, &args.shared, console)?;
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

/// The run to go on with, which the same command made; named after its experiment and the command.
pub fn reopen(dir: &Path, shared: &Shared, console: &Console<'_>) -> Result<Opened> {
    let about = || format!("resuming {}", dir.display());
    let dir = RunDir::open(dir)?;
    dir.check_made_by(console.command)?;
    let mut experiment = dir.read_experiment().context(about)?;
    if let Some(data_dir) = &shared.data_dir {
        experiment.data.dir = Some(data_dir.clone());
    }
    experiment.open_found_plugins(&dir.path().join("experiment.toml"), console.plugin_files)?;
    experiment.check()?;
    dir.add_session(&experiment, &call(console), console.events)?;
    let name = format!("{}-{}", experiment.name, console.command);
    let goes_on = goes_on(&dir);
    Ok(Opened { experiment, dir, name, resumed: true, device: console.device.clone(), goes_on })
}

/// Settings for work on a saved network, changed as the command's own arguments say, and a fresh run directory.
pub fn open_fresh(
    model: &Path,
    files: &[PathBuf],
    shared: &Shared,
    change: impl FnOnce(&mut Experiment) -> Result<()>,
    console: &Console<'_>,
) -> Result<Opened> {
    let mut experiment = load_for_model(model, files, shared, console)?;
    change(&mut experiment)?;
    experiment.check()?;
    let name = format!("{}-{}", experiment.name, console.command);
    fresh(experiment, shared, name, console)
}

/// The settings of the run that the network lies in, if it lies in one and no file is given.
pub(super) fn load_for_model(
    model: &Path,
    files: &[PathBuf],
    shared: &Shared,
    console: &Console<'_>,
) -> Result<Experiment> {
    let run_of = |model: &Path| Some(model.parent()?.parent()?.join("experiment.toml")).filter(|run| run.is_file());
    // The file may be a link to that in a run.
    let run = run_of(model).or_else(|| run_of(&std::fs::canonicalize(model).ok()?));
    if let Some(run) = run.filter(|_| files.is_empty()) {
        return load_files(&[run], Chosen::Found, Base::Defaults, shared, console);
    }
    let experiment = load(files, Base::Defaults, shared, console)?;
    let data = &experiment.data.name;
    if files.is_empty() && shared.data.is_none() && *data == Experiment::default().data.name {
        let message = format!(
            "{} lies in no run, so that the default settings are taken, with data set `{}`; name another by --data, or settings by --experiment",
            model.display(),
            data.name
        );
        console.events.send(Event::Warning { about: "settings".into(), message });
    }
    Ok(experiment)
}

pub fn load(files: &[PathBuf], base: Base, shared: &Shared, console: &Console<'_>) -> Result<Experiment> {
    load_files(files, Chosen::Named, base, shared, console)
}

fn load_files(
    files: &[PathBuf],
    chosen: Chosen,
    base: Base,
    shared: &Shared,
    console: &Console<'_>,
) -> Result<Experiment> {
    Experiment::load(&Sources {
        files,
        chosen,
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
    // In this order: a directory with the first of them is one that a command has begun.
    dir.write_provenance(&experiment, &call(console))?;
    dir.write_experiment(&experiment)?;
    let goes_on = goes_on(&dir);
    Ok(Opened { experiment, dir, name, resumed: false, device: console.device.clone(), goes_on })
}

fn call<'a>(console: &Console<'a>) -> Call<'a> {
    Call { command: console.command, arguments: console.arguments, device: &console.device.name }
}

/// The command that goes on with the work, where there is one.
fn goes_on(dir: &RunDir) -> Option<String> {
    dir.way_on().map(|way| format!("{way} goes on from there"))
}
