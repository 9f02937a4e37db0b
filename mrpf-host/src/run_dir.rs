//! A run on disk: one directory, one process at a time.
//!
//! ```text
//! experiment.toml        the resolved settings
//! run.json               version, seed, threads, arguments, plugins
//! metrics.jsonl          every event
//! results.json           the rows of the comparison
//! report.md              the same for people
//! networks/ROW           the networks, one safetensors file each
//! training/STAGE.json    what each training gave, epoch by epoch
//! checkpoints/STAGE      the state of a training in progress
//! sensitivity/METRIC.json
//! plans/ROW.json         what was cut and why
//! evaluation/ROW.json    counts, and ROW.csv with the outcome of every image
//! latency/ROW.json       time of a pass on this machine
//! ```

use mrpf_api::candle_core::Device;
use mrpf_api::network::Network;
use mrpf_api::registry::registrations;
use mrpf_api::sensitivity::ModuleSensitivity;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::evaluation::{Evaluation, Latency};
use crate::experiment::Experiment;
use crate::files::{read_if_there, write_atomically};
use crate::pipeline::{PrunedRow, TrainedRecord};
use crate::results::Results;

/// A run directory, locked for this process where it writes.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    // Held open: the lock ends with the file, and so with the process however it ends.
    _lock: Option<File>,
}

impl RunDir {
    /// Makes a new run directory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if something stands there already, or it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let occupied = path.is_file() || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            let is_run = path.join("experiment.toml").is_file();
            let what = if is_run { "holds a run already" } else { "exists already and is not empty" };
            let hint = match is_run {
                true => format!(
                    "go on with it by `mrpf run --resume {}`, or name another directory with --out",
                    path.display()
                ),
                false => "name another directory with --out".into(),
            };
            return Err(Error::new(ErrorKind::Io, format!("{} {what}", path.display())).hint(hint));
        }
        std::fs::create_dir_all(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot make the directory {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.into(), _lock: Some(lock(path)?) })
    }

    /// Makes `parent/name-1`, or the next number that is free.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(parent).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot make the directory {}: {error}", parent.display()))
        })?;
        for number in 1..10_000 {
            let path = parent.join(format!("{}-{number}", slug(name)));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { _lock: Some(lock(&path)?), path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!("cannot make the directory {}: {error}", path.display());
                    return Err(Error::new(ErrorKind::Io, message).hint("name a directory with --out"));
                }
            }
        }
        Err(Error::new(ErrorKind::Io, format!("{} holds ten thousand runs of that name", parent.display())))
    }

    /// Opens a run to go on with it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is no run directory, or another process works in it.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self::inspect(path)?;
        Ok(Self { _lock: Some(lock(path)?), ..run })
    }

    /// Opens a run to read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is no run directory.
    pub fn inspect(path: &Path) -> Result<Self> {
        if !path.join("experiment.toml").is_file() {
            let why = if path.is_dir() { "has no experiment.toml in it" } else { "does not exist" };
            let message = format!("{} is no run directory: it {why}", path.display());
            return Err(Error::new(ErrorKind::Io, message)
                .hint("name a directory that `mrpf run` made, for example with --out"));
        }
        Ok(Self { path: path.into(), _lock: None })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside, as it is written into results.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.path).unwrap_or(path).display().to_string()
    }

    /// Where the network of a row or stage lies.
    pub fn network(&self, name: &str) -> PathBuf {
        self.path.join("networks").join(format!("{}.safetensors", slug(name)))
    }

    /// Where the state of a training in progress lies.
    pub fn checkpoint(&self, stage: &str) -> PathBuf {
        self.path.join("checkpoints").join(format!("{}.safetensors", slug(stage)))
    }

    /// Where measured sensitivities lie.
    pub fn sensitivity(&self, label: &str) -> PathBuf {
        self.json("sensitivity", label)
    }

    /// Where the results lie.
    pub fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// Where the report lies.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.md")
    }

    /// Where the events lie.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    fn json(&self, folder: &str, name: &str) -> PathBuf {
        self.path.join(folder).join(format!("{}.json", slug(name)))
    }

    /// Reads a network, if it is there.
    pub fn read_network(&self, name: &str) -> Result<Option<Network>> {
        let path = self.network(name);
        let read = |bytes: Vec<u8>| {
            Network::from_bytes(&bytes, &Device::Cpu).context(|| format!("reading the network {}", path.display()))
        };
        read_if_there(&path)?.map(read).transpose()
    }

    /// Writes a network.
    pub fn write_network(&self, name: &str, network: &Network) -> Result<()> {
        write_atomically(&self.network(name), &network.to_bytes()?)
    }

    /// Reads what a training gave, if it is complete.
    pub fn read_training(&self, stage: &str) -> Result<Option<TrainedRecord>> {
        read_json(&self.json("training", stage))
    }

    /// Writes what a training gave.
    pub fn write_training(&self, stage: &str, record: &TrainedRecord) -> Result<()> {
        write_json(&self.json("training", stage), record)
    }

    /// Reads sensitivities, if they have been measured.
    pub fn read_sensitivity(&self, label: &str) -> Result<Option<Vec<ModuleSensitivity>>> {
        read_json(&self.sensitivity(label))
    }

    /// Writes sensitivities.
    pub fn write_sensitivity(&self, label: &str, modules: &[ModuleSensitivity]) -> Result<()> {
        write_json(&self.sensitivity(label), &modules)
    }

    /// All sensitivities that have been measured, by file name.
    pub fn read_sensitivities(&self) -> Result<Vec<(String, Vec<ModuleSensitivity>)>> {
        self.read_all("sensitivity")
    }

    /// Writes what was cut and why.
    pub fn write_plan(&self, row: &str, plan: &PrunedRow) -> Result<()> {
        write_json(&self.json("plans", row), plan)
    }

    /// What was cut and why, for all rows, by file name.
    pub fn read_plans(&self) -> Result<Vec<PrunedRow>> {
        Ok(self.read_all("plans")?.into_iter().map(|(_, plan)| plan).collect())
    }

    /// Reads an evaluation, if it is complete.
    pub fn read_evaluation(&self, label: &str) -> Result<Option<Evaluation>> {
        read_json(&self.json("evaluation", label))
    }

    /// Writes an evaluation, and the outcome of every image as a table.
    pub fn write_evaluation(&self, label: &str, evaluation: &Evaluation) -> Result<()> {
        let failed =
            |error: csv::Error| Error::new(ErrorKind::Io, format!("cannot write the outcomes of {label}: {error}"));
        let mut table = csv::Writer::from_writer(Vec::new());
        let attacks = evaluation.attacks.iter().map(|attack| format!("survives {}", attack.name));
        let header = ["image", "label", "predicted"].map(str::to_owned).into_iter().chain(attacks);
        table.write_record(header).map_err(failed)?;
        for outcome in &evaluation.outcomes {
            let first = [outcome.index.to_string(), outcome.label.to_string(), outcome.predicted.to_string()];
            let rest = outcome.survives.iter().map(|&survives| u8::from(survives).to_string());
            table.write_record(first.into_iter().chain(rest)).map_err(failed)?;
        }
        let bytes = table.into_inner().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let path = self.json("evaluation", label);
        write_atomically(&path.with_extension("csv"), &bytes)?;
        write_json(&path, evaluation)
    }

    /// Reads a measured time, if it has been measured.
    pub fn read_latency(&self, row: &str) -> Result<Option<Latency>> {
        read_json(&self.json("latency", row))
    }

    /// Writes a measured time.
    pub fn write_latency(&self, row: &str, latency: &Latency) -> Result<()> {
        write_json(&self.json("latency", row), latency)
    }

    /// Writes the results.
    pub fn write_results(&self, results: &Results) -> Result<()> {
        write_json(&self.results(), results)
    }

    /// Writes the report.
    pub fn write_report(&self, text: &str) -> Result<()> {
        write_atomically(&self.report(), text.as_bytes())
    }

    /// Writes the resolved settings.
    pub fn write_experiment(&self, experiment: &Experiment) -> Result<()> {
        write_atomically(&self.path.join("experiment.toml"), experiment.to_toml()?.as_bytes())
    }

    /// Reads the resolved settings.
    pub fn read_experiment(&self) -> Result<Experiment> {
        let path = self.path.join("experiment.toml");
        let bytes = read_if_there(&path)?.unwrap_or_default();
        Experiment::from_toml(&String::from_utf8_lossy(&bytes)).context(|| format!("reading {}", path.display()))
    }

    /// Writes where the run comes from.
    pub fn write_provenance(&self, experiment: &Experiment, arguments: &[String]) -> Result<()> {
        let plugins: Vec<_> = registrations()
            .into_iter()
            .map(|plugin| serde_json::json!({ "kind": plugin.kind().name(), "name": plugin.name, "package": plugin.package, "version": plugin.version }))
            .collect();
        let threads = mrpf_api::rayon::current_num_threads();
        let provenance = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "seed": experiment.seed,
            "device": "cpu",
            "threads": threads,
            "arguments": arguments,
            "plugins": plugins,
        });
        write_json(&self.path.join("run.json"), &provenance)
    }

    fn read_all<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<(String, T)>> {
        let Ok(entries) = std::fs::read_dir(self.path.join(folder)) else { return Ok(Vec::new()) };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            all.extend(read_json(&path)?.map(|value| (name, value)));
        }
        Ok(all)
    }
}

fn lock(path: &Path) -> Result<File> {
    let file = path.join(".lock");
    let failed = |error: std::io::Error| Error::new(ErrorKind::Io, format!("cannot lock {}: {error}", path.display()));
    let handle = File::options().create(true).truncate(false).write(true).open(&file).map_err(failed)?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(std::fs::TryLockError::WouldBlock) => {
            let message = format!("another mrpf is working in {}", path.display());
            Err(Error::new(ErrorKind::Io, message).hint("wait for it to end, or name another directory with --out"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// A name as a file name: everything but letters, digits, dots and dashes becomes a dash.
fn slug(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' };
    let slug: String = name.chars().map(safe).collect();
    slug.trim_start_matches('.').to_owned()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let wrong = |error| {
        Error::new(ErrorKind::Checkpoint, format!("{} cannot be read: {error}", path.display()))
            .hint("remove the file to have it computed anew")
    };
    serde_json::from_slice(&bytes).map(Some).map_err(wrong)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let failed = |error| Error::new(ErrorKind::Io, format!("{} cannot be written as JSON: {error}", path.display()));
    let mut text = serde_json::to_string_pretty(value).map_err(failed)?;
    text.push('\n');
    write_atomically(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_used_by_one() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run");
        let run = RunDir::create(&path)?;
        run.write_experiment(&Experiment::default())?;
        let error = RunDir::create(&path).expect_err("it exists");
        assert!(error.to_string().ends_with("holds a run already"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("--resume")));
        let error = RunDir::open(&path).expect_err("it is in use");
        assert!(error.to_string().starts_with("another mrpf is working in"), "{error}");
        drop(run);
        assert_eq!(RunDir::open(&path)?.read_experiment()?, Experiment::default());
        Ok(())
    }

    #[test]
    fn numbers_go_up_and_names_are_safe() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let first = RunDir::create_numbered(folder.path(), "a b/../c")?;
        let second = RunDir::create_numbered(folder.path(), "a b/../c")?;
        assert_eq!(first.path(), folder.path().join("a-b-..-c-1"));
        assert_eq!(second.path(), folder.path().join("a-b-..-c-2"));
        Ok(())
    }

    #[test]
    fn what_is_no_run_is_said() {
        let error = RunDir::inspect(Path::new("/nowhere/at/all")).expect_err("nothing there");
        assert_eq!(error.to_string(), "/nowhere/at/all is no run directory: it does not exist");
    }
}
