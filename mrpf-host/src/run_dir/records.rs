//! What a run directory keeps, read and written by its type.

use mrpf_api::attack::ThreatModel;
use mrpf_api::budget::LatencyTable;
use mrpf_api::candle_core::Device;
use mrpf_api::network::Network;
use mrpf_api::sensitivity::ModuleSensitivity;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

use super::RunDir;
use super::file_name::name_of;
use super::sealed::{read_sealed, sealed};
use crate::evaluation::{Evaluation, Latency, outcome_table};
use crate::experiment::Experiment;
use crate::files::{read_if_there, write_atomically};
use crate::pipeline::{PrunedRow, TrainedRecord};
use crate::results::Results;

impl RunDir {
    /// Reads a network, if the stage that makes it is done, on the CPU.
    pub fn read_network(&self, name: &str) -> Result<Option<Network>> {
        let path = self.network(name);
        let read = |bytes: Vec<u8>| {
            let network = Network::from_bytes(&bytes, &Device::Cpu)
                .map_err(|error| error.hint("it is damaged; remove the file to have it computed anew"));
            network.context(|| format!("reading the network {}", path.display()))
        };
        self.read_checked(&path)?.map(read).transpose()
    }

    /// Writes a network.
    pub fn write_network(&self, name: &str, network: &Network) -> Result<()> {
        self.write(&self.network(name), &network.to_bytes()?)
    }

    /// Reads what a training gave, if it is complete.
    pub fn read_training(&self, stage: &str) -> Result<Option<TrainedRecord>> {
        self.read_result(&self.training(stage))
    }

    /// Writes what a training gave.
    pub fn write_training(&self, stage: &str, record: &TrainedRecord) -> Result<()> {
        self.write_json(&self.training(stage), record)
    }

    /// Reads sensitivities, if they have been measured.
    pub fn read_sensitivity(&self, label: &str) -> Result<Option<Vec<ModuleSensitivity>>> {
        self.read_result(&self.sensitivity(label))
    }

    /// Writes sensitivities.
    pub fn write_sensitivity(&self, label: &str, modules: &[ModuleSensitivity]) -> Result<()> {
        self.write_json(&self.sensitivity(label), &modules)
    }

    /// All sensitivities that have been measured, in the order of their file names.
    pub fn read_sensitivities(&self) -> Result<Vec<(String, Vec<ModuleSensitivity>)>> {
        self.read_all("sensitivity")
    }

    /// Writes what was cut and why.
    pub fn write_plan(&self, row: &str, plan: &PrunedRow) -> Result<()> {
        self.write_json(&self.plan(row), plan)
    }

    /// What was cut and why, for all rows, in the order of their file names.
    pub fn read_plans(&self) -> Result<Vec<PrunedRow>> {
        Ok(self.read_all("plans")?.into_iter().map(|(_, plan)| plan).collect())
    }

    /// Reads an evaluation, if it is complete.
    pub fn read_evaluation(&self, label: &str) -> Result<Option<Evaluation>> {
        self.read_result(&self.evaluation(label))
    }

    /// Writes an evaluation, and the outcome of every image as a table; gives both files.
    pub fn write_evaluation(&self, label: &str, evaluation: &Evaluation, threat: &ThreatModel) -> Result<[PathBuf; 2]> {
        let path = self.evaluation(label);
        let table = path.with_extension("parquet");
        self.write(&table, &outcome_table(evaluation, threat)?)?;
        self.write_json(&path, evaluation)?;
        Ok([path, table])
    }

    /// Writes what a command works on beside its experiment, for when it goes on.
    pub fn write_task(&self, task: &impl Serialize) -> Result<()> {
        let path = self.path.join("task.json");
        self.write(&path, &sealed(&path, task)?)
    }

    /// Reads what a command works on beside its experiment, if it needs that.
    pub fn read_task<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        read_sealed(&self.path.join("task.json"))
    }

    /// Reads a measured time, if it has been measured.
    pub fn read_latency(&self, row: &str) -> Result<Option<Latency>> {
        self.read_result(&self.latency(row))
    }

    /// Writes a measured time.
    pub fn write_latency(&self, row: &str, latency: &Latency) -> Result<()> {
        self.write_json(&self.latency(row), latency)
    }

    /// Reads the times of layers, if they have been measured.
    pub fn read_layer_times(&self) -> Result<Option<LatencyTable>> {
        self.read_result(&self.layer_times())
    }

    /// Writes the times of layers.
    pub fn write_layer_times(&self, table: &LatencyTable) -> Result<()> {
        self.write_json(&self.layer_times(), table)
    }

    /// Writes the results.
    pub fn write_results(&self, results: &Results) -> Result<()> {
        self.write_json(&self.results(), results)
    }

    /// Writes the report.
    pub fn write_report(&self, text: &str) -> Result<()> {
        self.write(&self.report(), text.as_bytes())
    }

    /// Writes the resolved settings.
    pub fn write_experiment(&self, experiment: &Experiment) -> Result<()> {
        self.write(&self.path.join("experiment.toml"), experiment.to_toml()?.as_bytes())
    }

    /// Reads the resolved settings.
    pub fn read_experiment(&self) -> Result<Experiment> {
        let path = self.path.join("experiment.toml");
        let bytes = read_if_there(&path)?.unwrap_or_default();
        Experiment::from_toml(&String::from_utf8_lossy(&bytes)).context(|| format!("reading {}", path.display()))
    }

    /// Writes a file of the run.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the directory is gone, or with the system's reason.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.check_present()?;
        write_atomically(path, bytes)
    }

    pub(super) fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        self.write(path, &json(path, value)?)
    }

    fn read_result<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        self.read_checked(path)?.map(|bytes| parsed(path, &bytes)).transpose()
    }

    fn read_all<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<(String, T)>> {
        let Ok(entries) = std::fs::read_dir(self.path.join(folder)) else { return Ok(Vec::new()) };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            let name = path.file_stem().map(|stem| name_of(&stem.to_string_lossy())).unwrap_or_default();
            all.extend(self.read_result(&path)?.map(|value| (name, value)));
        }
        Ok(all)
    }
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    read_if_there(path)?.map(|bytes| parsed(path, &bytes)).transpose()
}

fn parsed<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::Checkpoint, format!("{} cannot be read: {error}", path.display()))
            .hint("remove the file to have it computed anew")
    })
}

/// A value as the bytes of a JSON file.
pub(crate) fn json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    let failed = |error| Error::new(ErrorKind::Io, format!("{} cannot be written as JSON: {error}", path.display()));
    let mut text = serde_json::to_string_pretty(value).map_err(failed)?;
    text.push('\n');
    Ok(text.into_bytes())
}
