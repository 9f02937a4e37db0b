//! Opens what a command works on: settings, the run directory, a saved network.

use mrpf_api::network::Network;
use mrpf_api::{Context, Result};
use std::path::{Path, PathBuf};

use super::Console;
use crate::cli::{ModelArgs, RunArgs, Shared};
use crate::experiment::{Experiment, Sources};
use crate::pipeline::{Opened, read_model};
use crate::run_dir::RunDir;

/// Settings and a fresh run directory, or those of the run to go on with.
pub fn open_run(args: &RunArgs, name: impl Fn(&Experiment) -> String, console: &Console<'_>) -> Result<Opened> {
    let Some(resume) = &args.resume else {
        let experiment = load(&args.experiment, &args.shared, console)?;
        let name = name(&experiment);
        return fresh(experiment, &args.shared, name, console);
    };
    let dir = RunDir::open(resume)?;
    let mut experiment = dir.read_experiment().context(|| format!("resuming {}", resume.display()))?;
    if let Some(data_dir) = &args.shared.data_dir {
        experiment.data.dir = Some(data_dir.clone());
    }
    experiment.plugins.extend_from_slice(console.plugin_files);
    experiment.open_plugins()?;
    experiment.check()?;
    dir.add_session(console.arguments, console.events)?;
    let name = name(&experiment);
    Ok(Opened { experiment, dir, name, resumed: true })
}

/// Settings, a fresh run directory and the saved network.
pub fn open_model(args: &ModelArgs, command: &str, console: &Console<'_>) -> Result<(Opened, Network)> {
    let network = read_model(&args.model)?;
    let experiment = load(&args.experiment, &args.shared, console)?;
    let name = format!("{}-{command}", experiment.name);
    Ok((fresh(experiment, &args.shared, name, console)?, network))
}

fn load(files: &[PathBuf], shared: &Shared, console: &Console<'_>) -> Result<Experiment> {
    Experiment::load(&Sources {
        files,
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
    dir.write_provenance(&experiment, console.arguments)?;
    Ok(Opened { experiment, dir, name, resumed: false })
}
