//! The state of a training stage after an epoch, as one safetensors file.

use mrpf_api::network::{Network, Weights, tensors_from_bytes, tensors_to_bytes};
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

use super::job::{EpochRecord, TrainingJob};
use crate::files::{read_if_there, sha256, write_atomically};

/// Version of the file; a reader refuses another one.
const VERSION: u32 = 1;

/// The networks of a stage: as it is after the last epoch, and as it was at the best one.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Parameters now.
    pub parameters: Weights,
    /// Running statistics now.
    pub statistics: Weights,
    /// Velocity of the optimiser.
    pub velocity: Weights,
    /// What the trainer keeps.
    pub trainer: Weights,
    /// Parameters at the best epoch.
    pub best_parameters: Weights,
    /// Running statistics at the best epoch.
    pub best_statistics: Weights,
    /// Everything else.
    pub progress: Progress,
}

/// The part of the state that is no tensor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    version: u32,
    /// What the state belongs to: settings, data and network.
    fingerprint: String,
    /// Records of the epochs that are done.
    pub history: Vec<EpochRecord>,
    /// The best epoch from 1; 0 before the first.
    pub best_epoch: usize,
}

impl State {
    /// Writes the state.
    pub(super) fn save(&mut self, path: &Path, job: &TrainingJob<'_>) -> Result<()> {
        self.progress.version = VERSION;
        self.progress.fingerprint = fingerprint(job)?;
        let mut tensors = Weights::new();
        for (prefix, family) in self.families() {
            tensors.extend(family.iter().map(|(name, tensor)| (format!("{prefix}:{name}"), tensor.clone())));
        }
        let progress = serde_json::to_string(&self.progress)
            .map_err(|error| Error::new(ErrorKind::Checkpoint, format!("the state cannot be written: {error}")))?;
        write_atomically(path, &tensors_to_bytes(&tensors, [("progress", progress)])?)
    }

    /// Reads a state, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if the file cannot be read or belongs to other settings, data or another network.
    pub(super) fn load(path: &Path, job: &TrainingJob<'_>) -> Result<Option<Self>> {
        let Some(bytes) = read_if_there(path)? else { return Ok(None) };
        let about = || format!("reading the checkpoint {}", path.display());
        let wrong = |why: String| {
            Error::new(ErrorKind::Checkpoint, why).hint("remove the file to train this stage anew").context(about())
        };
        let (tensors, header) = tensors_from_bytes(&bytes, job.network.device()).context(about)?;
        let progress = header.get("progress").ok_or_else(|| wrong("it holds no training state".into()))?;
        let progress: Progress = serde_json::from_str(progress).map_err(|error| wrong(error.to_string()))?;
        if progress.version != VERSION {
            return Err(wrong(format!("version {}, expected {VERSION}", progress.version)));
        }
        if progress.fingerprint != fingerprint(job)? {
            return Err(wrong("it was made with other settings, other data or another network".into()));
        }
        let mut state = Self { progress, ..Self::default() };
        for (name, tensor) in tensors {
            let (prefix, name) = name.split_once(':').ok_or_else(|| wrong(format!("unexpected tensor `{name}`")))?;
            let family = state.family(prefix).ok_or_else(|| wrong(format!("unexpected tensor `{prefix}:{name}`")))?;
            family.insert(name.to_owned(), tensor);
        }
        Ok(Some(state))
    }

    fn families(&self) -> [(&'static str, &Weights); 6] {
        [
            ("parameter", &self.parameters),
            ("statistic", &self.statistics),
            ("velocity", &self.velocity),
            ("trainer", &self.trainer),
            ("best-parameter", &self.best_parameters),
            ("best-statistic", &self.best_statistics),
        ]
    }

    fn family(&mut self, prefix: &str) -> Option<&mut Weights> {
        Some(match prefix {
            "parameter" => &mut self.parameters,
            "statistic" => &mut self.statistics,
            "velocity" => &mut self.velocity,
            "trainer" => &mut self.trainer,
            "best-parameter" => &mut self.best_parameters,
            "best-statistic" => &mut self.best_statistics,
            _ => return None,
        })
    }
}

/// A hash of everything that must be the same for training to go on as if it had not been stopped.
fn fingerprint(job: &TrainingJob<'_>) -> Result<String> {
    let network: &Network = &job.network;
    let teacher = job.teacher.map(Network::to_bytes).transpose()?.map(|bytes| sha256(&bytes));
    let parts = serde_json::to_string(&(
        job.settings,
        network.declaration(),
        job.streams.seed(),
        &job.split.train,
        &job.split.holdout,
        teacher,
    ))
    .map_err(|error| Error::new(ErrorKind::Checkpoint, format!("the settings cannot be written: {error}")))?;
    Ok(sha256(parts.as_bytes()))
}
