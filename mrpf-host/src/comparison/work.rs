//! What the process of a stage does: one piece of work in the stage's own directory.

use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::{Duration, Instant};

use super::stage::{Stage, Work};
use super::store::Done;
use crate::device::OpenDevice;
use crate::event::EventSink;
use crate::pipeline::{Opened, Session};
use crate::run_dir::{Call, RunDir, sealed};

/// How long a process waits for one before it, which is stopping, to let go of the directory.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names of networks and records in a stage's directory.
pub mod names {
    /// The dense network of a training.
    pub const DENSE: &str = "dense";
    /// The pruned network before its last fine-tuning.
    pub const CUT: &str = "cut";
    /// The pruned network.
    pub const PRUNED: &str = "pruned";
    /// Sensitivities.
    pub const SENSITIVITY: &str = "sensitivity";
}

/// Computes the stage whose directory is `path`, or what of it is not there yet.
///
/// # Errors
/// [`ErrorKind::Io`] if it is no stage's directory; whatever stops the work.
pub fn work(
    path: &Path,
    arguments: &[String],
    device: &OpenDevice,
    events: &dyn EventSink,
    watcher: &dyn mrpf_api::context::Watcher,
) -> Result<()> {
    let start = Instant::now();
    let dir = patiently(path)?;
    let mut experiment = dir.read_experiment()?;
    // The process that started this one has named them.
    experiment.open_found_plugins(&path.join("experiment.toml"), &[])?;
    experiment.check()?;
    let Some(work) = dir.read_task::<Work>()? else {
        return Err(Error::new(ErrorKind::Io, format!("{} has no task.json in it", path.display())));
    };
    let resumed = path.join("run.json").is_file();
    let call = Call { command: "stage", arguments, device: &device.name };
    match resumed {
        true => dir.add_session(&experiment, &call, events)?,
        false => dir.write_provenance(&experiment, &call)?,
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let goes_on = Some("the same `mrpf compare` goes on with this stage".to_owned());
    let opened = Opened { experiment, dir, name, resumed, device: device.clone(), goes_on };
    let session = Session::open(opened, 1, events, watcher)?;
    run(&session, &work, path)?;
    let seconds = start.elapsed().as_secs_f64();
    let done = Done { seconds, threads: mrpf_api::rayon::current_num_threads(), device: device.name.clone() };
    let path = path.join("done.json");
    session.dir.write(&path, &sealed(&path, &done)?)
}

fn run(session: &Session<'_>, work: &Work, path: &Path) -> Result<()> {
    let other = |key: &str| RunDir::inspect(&path.with_file_name(key));
    let network = |key: &str, name: &str| -> Result<Network> {
        let stage = other(key)?;
        let network = stage.read_network(name).map_err(|error| damaged(key, error))?;
        let network = network.ok_or_else(|| missing(key, name))?.to_device(&session.device)?;
        session.check_fits(&network)?;
        Ok(network)
    };
    match work {
        Work::Train => {
            let settings = session.experiment.pretrain.clone();
            session.pretrained("train", names::DENSE, &settings)?;
        }
        Work::Measure { dense } => {
            let metric = session.experiment.prune.sensitivity.clone();
            session.sensitivities(names::SENSITIVITY, &metric, &network(dense, names::DENSE)?)?;
        }
        Work::Time { dense } => {
            session.dense(&network(dense, names::DENSE)?, &session.experiment.prune)?;
        }
        Work::Prune { dense, sensitivity, times } => {
            let modules = match sensitivity {
                None => Vec::new(),
                Some(key) => {
                    let found =
                        other(key)?.read_sensitivity(names::SENSITIVITY).map_err(|error| damaged(key, error))?;
                    found.ok_or_else(|| missing(key, names::SENSITIVITY))?
                }
            };
            let mut variant = Stage::variant(&session.experiment);
            variant.prune.latency_table = times.as_ref().map(|key| path.with_file_name(key).join("latency-table.json"));
            let finished = session.pruned_and_finetuned(&variant, &network(dense, names::DENSE)?, &modules)?;
            session.keep_cut(names::CUT, &finished)?;
        }
        Work::Attack { of } => {
            let settings = session.experiment.evaluate.clone();
            if of.starts_with("prune-") {
                // Without an epoch of fine-tuning the two are one network.
                if session.experiment.finetune.epochs > 0 {
                    session.evaluated(names::CUT, names::CUT, "pruned", &settings, &network(of, names::CUT)?)?;
                }
                session.evaluated(names::PRUNED, names::PRUNED, "final", &settings, &network(of, names::PRUNED)?)?;
            } else {
                session.evaluated(names::DENSE, names::DENSE, "final", &settings, &network(of, names::DENSE)?)?;
            }
        }
    }
    Ok(())
}

/// A process whose parent was killed stops after its step; until then the directory is its own.
fn patiently(path: &Path) -> Result<RunDir> {
    let start = Instant::now();
    loop {
        match RunDir::open(path) {
            Err(error) if error.to_string().contains("another mrpf") && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

/// What cannot be read although its stage was done.
fn damaged(key: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Checkpoint => error.hint(format!("remove the directory stages/{key} to have it computed anew")),
        _ => error,
    }
}

fn missing(key: &str, name: &str) -> Error {
    Error::new(ErrorKind::Checkpoint, format!("stage {key} has no `{name}`"))
        .hint(format!("remove the directory stages/{key} to have it computed anew"))
}
