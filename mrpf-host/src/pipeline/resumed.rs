//! Looks through the stages of a resumed run before any of them is computed, so that changed settings are told at once.

use mrpf_api::Result;
use mrpf_api::schedule::PruningSchedule;

use super::session::Session;
use crate::experiment::{PluginChoice, Variant};
use crate::pruning::rounds;
use crate::stage_key::StageKey;
use crate::training::TrainingSettings;

impl Session<'_> {
    /// Checks that a stage that trains, if it is done, was given what it would be given now.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Settings`] with the differences.
    pub fn check_training(&self, stage: &str, path: &str, settings: &TrainingSettings, start: &StageKey) -> Result<()> {
        self.dir.check_done(stage, &self.training_key(path, settings, start)?)
    }

    /// The same for the training of a fresh network and the attack on it, which is kept as `name`.
    ///
    /// # Errors
    /// As [`Self::check_training`].
    pub fn check_pretraining(&self, stage: &str, name: &str, settings: &TrainingSettings) -> Result<()> {
        self.check_training(stage, "pretrain", settings, &self.fresh_key()?)?;
        self.check_attack(name)
    }

    /// The same for the attack on the network `name`.
    ///
    /// # Errors
    /// As [`Self::check_training`].
    pub fn check_attack(&self, name: &str) -> Result<()> {
        self.dir.check_done(&format!("attack {name}"), &self.attack_key(&self.experiment.evaluate)?)
    }

    /// The same for a measurement kept as `label`.
    ///
    /// # Errors
    /// As [`Self::check_training`].
    pub fn check_measuring(&self, label: &str, metric: &PluginChoice) -> Result<()> {
        self.dir.check_done(&format!("measure {label}"), &self.measuring_key(metric)?)
    }

    /// The same for a row: its pruning, its fine-tunings and the attacks on it.
    ///
    /// # Errors
    /// As [`Self::check_training`].
    pub fn check_row(&self, variant: &Variant) -> Result<()> {
        let (name, key) = (&variant.name, self.pruning_key(variant)?);
        self.dir.check_done(&format!("prune {name}"), &key)?;
        let schedule = variant.prune.schedule.make::<dyn PruningSchedule>()?;
        let rounds = rounds(schedule.as_ref(), variant.prune.rounds, variant.prune.ratio, variant.finetune.epochs);
        for (at, round) in rounds.iter().enumerate() {
            let suffix = if rounds.len() > 1 { format!(" round {}", at + 1) } else { String::new() };
            let settings = TrainingSettings { epochs: round.epochs, ..variant.finetune.clone() };
            self.check_training(&format!("finetune {name}{suffix}"), "finetune", &settings, &key)?;
        }
        self.check_attack(&format!("{name} cut"))?;
        self.check_attack(name)
    }
}
