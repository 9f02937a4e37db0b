//! The state of a training stage after an epoch, as one safetensors file.

use mrpf_api::network::{Network, Weights, require_digest, tensors_from_bytes, tensors_to_bytes};
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

use super::job::{EpochRecord, TrainingJob};
use crate::files::{read_if_there, sha256};
use crate::stage_key::StageKey;

/// Version of the file; a reader refuses another one.
const VERSION: u32 = 2;

/// The file that keeps the state of a training after each epoch; if it exists already, training goes on from it.
#[derive(Clone, Copy)]
pub struct Checkpoint<'a> {
    /// The file.
    pub path: &'a Path,
    /// What the training depends on; a state with another key is refused.
    pub key: &'a StageKey,
    /// Writes the file.
    pub write: &'a dyn Fn(&Path, &[u8]) -> Result<()>,
}

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
    /// What the training depends on.
    key: StageKey,
    /// Digest of the declaration, the split and the streams, which follow from the key.
    fingerprint: String,
    /// Records of the epochs that are done.
    pub history: Vec<EpochRecord>,
    /// The best epoch from 1; 0 before the first.
    pub best_epoch: usize,
}

impl State {
    /// Writes the state.
    pub(super) fn save(&mut self, checkpoint: &Checkpoint<'_>, job: &TrainingJob<'_>) -> Result<()> {
        self.progress.version = VERSION;
        self.progress.key = checkpoint.key.clone();
        self.progress.fingerprint = fingerprint(job)?;
        let mut tensors = Weights::new();
        for (prefix, family) in self.families() {
            tensors.extend(family.iter().map(|(name, tensor)| (format!("{prefix}:{name}"), tensor.clone())));
        }
        let progress = serde_json::to_string(&self.progress)
            .map_err(|error| Error::new(ErrorKind::Checkpoint, format!("the state cannot be written: {error}")))?;
        (checkpoint.write)(checkpoint.path, &tensors_to_bytes(&tensors, [("progress", progress)])?)
    }

    /// Reads a state, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if the file cannot be read or is damaged; [`ErrorKind::Settings`] if the training that it belongs to
    /// had other settings, images or inputs.
    pub(super) fn load(checkpoint: &Checkpoint<'_>, job: &TrainingJob<'_>) -> Result<Option<Self>> {
        let path = checkpoint.path;
        let Some(bytes) = read_if_there(path)? else { return Ok(None) };
        let about = || format!("reading the checkpoint {}", path.display());
        let wrong = |why: String| {
            Error::new(ErrorKind::Checkpoint, why).hint("remove the file to train this stage anew").context(about())
        };
        let (tensors, header) = tensors_from_bytes(&bytes, job.network.device())
            .map_err(|error| error.hint("remove the file to train this stage anew"))
            .context(about)?;
        let progress = header.get("progress").ok_or_else(|| wrong("it holds no training state".into()))?;
        let progress: Progress = serde_json::from_str(progress).map_err(|error| wrong(error.to_string()))?;
        if progress.version != VERSION {
            return Err(wrong(format!("version {}, expected {VERSION}", progress.version)));
        }
        require_digest(&header).context(about)?;
        progress.key.check(checkpoint.key, job.stage, path.parent().and_then(Path::parent).unwrap_or(path))?;
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
