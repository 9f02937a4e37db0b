//! Training stages: the dense networks, and fine-tuning after pruning.

use mrpf_api::network::Network;
use mrpf_api::trainer::AdversarialTrainer;
use mrpf_api::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

use super::keys::network_digest;
use super::saved_network::read_model;
use super::session::Session;
use crate::files::remove_if_there;
use crate::stage_key::StageKey;
use crate::training::{Checkpoint, EpochRecord, TrainingJob, TrainingSettings, train};

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

/// A training to be done, or found done.
pub struct TrainingStage<'a> {
    /// The stage, as it is told.
    pub stage: &'a str,
    /// What the trained network is kept as.
    pub name: &'a str,
    /// Names the randomness: stages with the same name see the same batches in the same order.
    pub streams: &'a str,
    /// Where the settings stand in the experiment.
    pub path: &'a str,
    /// The settings.
    pub settings: &'a TrainingSettings,
    /// Learnt from where the trainer needs a teacher and the settings name none.
    pub teacher: Option<&'a Network>,
    /// What the network at the start was made from.
    pub start: StageKey,
}

impl Session<'_> {
    /// Trains a fresh network of the experiment, or takes the result from an earlier session of this run.
    ///
    /// # Errors
    /// As [`Self::trained`].
    pub fn pretrained(&self, stage: &str, name: &str, settings: &TrainingSettings) -> Result<(Network, TrainedRecord)> {
        let (path, start) = ("pretrain", self.fresh_key()?);
        let training = TrainingStage { stage, name, streams: path, path, settings, teacher: None, start };
        self.trained(&training, || self.fresh_network())
    }

    /// Fine-tunes a network that the user named.
    ///
    /// # Errors
    /// As [`Self::trained`].
    pub fn finetuned(&self, stage: &str, name: &str, network: Network) -> Result<(Network, TrainedRecord)> {
        let (path, settings) = ("finetune", &self.experiment.finetune);
        let start = StageKey::default().with_input("network", network_digest(&network)?);
        let training = TrainingStage { stage, name, streams: path, path, settings, teacher: None, start };
        self.trained(&training, || Ok(network))
    }

    /// Trains `network`, or takes the result from an earlier session of this run.
    ///
    /// # Errors
    /// As [`train`], [`mrpf_api::ErrorKind::Checkpoint`] for a teacher that cannot be read or does not fit the data, and
    /// [`mrpf_api::ErrorKind::Settings`] if the earlier session trained with other settings, images or inputs.
    pub fn trained(
        &self,
        training: &TrainingStage<'_>,
        network: impl FnOnce() -> Result<Network>,
    ) -> Result<(Network, TrainedRecord)> {
        let TrainingStage { stage, name, settings, .. } = *training;
        self.stage(stage, || {
            let mut key = self.training_key(training.path, settings, &training.start)?;
            let needs_teacher = settings.trainer.make::<dyn AdversarialTrainer>()?.needs_teacher();
            let named =
                settings.teacher.as_ref().filter(|_| needs_teacher).map(|path| self.teacher(path)).transpose()?;
            let teacher = named.as_ref().or(training.teacher).filter(|_| needs_teacher);
            if let Some(teacher) = teacher {
                key = key.with_input("teacher", network_digest(teacher)?);
            }
            let path = self.dir.checkpoint(name);
            if self.dir.is_done(stage, &key)?
                && let (Some(network), Some(record)) = (self.kept_network(name)?, self.dir.read_training(name)?)
            {
                // A process that was killed just before its end has left it.
                remove_if_there(&path)?;
                return Ok(((network, record), true));
            }
            let network = network()?;
            self.tell_of_precision(stage, settings.precision, &network);
            let write = |path: &Path, bytes: &[u8]| self.dir.write(path, bytes);
            let job = TrainingJob {
                stage,
                network,
                teacher,
                data: &self.data,
                split: &self.split,
                settings,
                streams: self.streams.child(training.streams),
                checkpoint: Some(Checkpoint { path: &path, key: &key, write: &write }),
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
            self.dir.write_done(stage, &key, &[self.dir.training(name), self.dir.network(name)])?;
            // The result is on disk; the checkpoint has done its duty.
            remove_if_there(&path)?;
            Ok(((trained.network, record), false))
        })
    }

    /// Keeps a copy of `network` as the network `name`, for which no epoch of training is asked.
    pub(super) fn untrained(
        &self,
        training: &TrainingStage<'_>,
        network: &Network,
    ) -> Result<(Network, TrainedRecord)> {
        let TrainingStage { stage, name, settings, .. } = *training;
        let key = self.training_key(training.path, settings, &training.start)?;
        self.dir.is_done(stage, &key)?;
        let record = TrainedRecord { trainer: settings.trainer.name.clone(), ..TrainedRecord::default() };
        self.dir.write_training(name, &record)?;
        self.dir.write_network(name, network)?;
        self.dir.write_done(stage, &key, &[self.dir.training(name), self.dir.network(name)])?;
        Ok((network.duplicate()?, record))
    }

    fn teacher(&self, path: &Path) -> Result<Network> {
        let about = || format!("the teacher {}", path.display());
        let teacher = read_model(path)?.to_device(&self.device)?;
        self.check_fits(&teacher).context(about)?;
        Ok(teacher)
    }
}
