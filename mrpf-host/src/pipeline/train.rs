//! Training stages: the dense networks, and fine-tuning after pruning.

use mrpf_api::network::Network;
use mrpf_api::trainer::AdversarialTrainer;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

use super::saved_network::read_model;
use super::session::Session;
use crate::training::{EpochRecord, TrainingJob, TrainingSettings, train};

/// What is kept of a finished training beside its network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainedRecord {
    /// The trainer.
    pub trainer: String,
    /// One record per epoch.
    pub history: Vec<EpochRecord>,
    /// The chosen epoch from 1; 0 if no epoch was trained.
    pub chosen_epoch: usize,
    /// Why the trainer ended the training before its last epoch, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl TrainedRecord {
    /// Whether any epoch was trained; the network is the one that training began with otherwise.
    pub fn is_trained(&self) -> bool {
        !self.history.is_empty()
    }

    /// Robust accuracy on held-out images at the chosen epoch and at the last one: their gap is robust overfitting.
    pub fn best_and_last(&self) -> Option<[f64; 2]> {
        let last = self.history.last()?.holdout_robust?;
        let best = self.history.get(self.chosen_epoch.checked_sub(1)?)?.holdout_robust?;
        Some([best, last])
    }
}

impl Session<'_> {
    /// Trains `network`, or takes the result from an earlier session of this run.
    ///
    /// The result is kept as the network `name`. `streams` names the randomness: stages with the same name see the same batches
    /// in the same order. `teacher` is learnt from where the trainer needs a teacher and the settings name none.
    ///
    /// # Errors
    /// As [`train`], and [`ErrorKind::Checkpoint`] for a teacher that cannot be read or does not fit the data.
    pub fn trained(
        &self,
        stage: &str,
        name: &str,
        streams: &str,
        settings: &TrainingSettings,
        teacher: Option<&Network>,
        network: impl FnOnce() -> Result<Network>,
    ) -> Result<(Network, TrainedRecord)> {
        self.stage(stage, || {
            if let (Some(network), Some(record)) = (self.kept_network(name)?, self.dir.read_training(name)?) {
                return Ok(((network, record), true));
            }
            let checkpoint = self.dir.checkpoint(name);
            let needs_teacher = settings.trainer.make::<dyn AdversarialTrainer>()?.needs_teacher();
            let named =
                settings.teacher.as_ref().filter(|_| needs_teacher).map(|path| self.teacher(path)).transpose()?;
            let network = network()?;
            self.tell_of_precision(stage, settings.precision, &network);
            let job = TrainingJob {
                stage,
                network,
                teacher: named.as_ref().or(teacher).filter(|_| needs_teacher),
                data: &self.data,
                split: &self.split,
                settings,
                streams: self.streams.child(streams),
                checkpoint: Some(&checkpoint),
                events: self,
                watcher: self,
            };
            let trained = train(job)?;
            let record = TrainedRecord {
                trainer: settings.trainer.name.clone(),
                history: trained.history,
                chosen_epoch: trained.chosen_epoch,
                stopped: trained.stopped,
            };
            self.dir.write_training(name, &record)?;
            self.dir.write_network(name, &trained.network)?;
            // The result is on disk; the checkpoint has done its duty.
            match std::fs::remove_file(&checkpoint) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let message = format!("cannot remove {}: {error}", checkpoint.display());
                    Err(Error::new(ErrorKind::Io, message))
                }
                _ => Ok(((trained.network, record), false)),
            }
        })
    }

    /// Keeps a copy of `network` as the network `name`, for which no epoch of training is asked.
    pub(super) fn untrained(&self, name: &str, trainer: &str, network: &Network) -> Result<(Network, TrainedRecord)> {
        let record = TrainedRecord { trainer: trainer.to_owned(), ..TrainedRecord::default() };
        self.dir.write_training(name, &record)?;
        self.dir.write_network(name, network)?;
        Ok((network.duplicate()?, record))
    }

    fn teacher(&self, path: &Path) -> Result<Network> {
        let about = || format!("the teacher {}", path.display());
        let teacher = read_model(path)?.to_device(&self.device)?;
        self.check_fits(&teacher).context(about)?;
        Ok(teacher)
    }
}
