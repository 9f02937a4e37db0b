//! What each stage of a run is computed from.

use mrpf_api::allocation::Allocation;
use mrpf_api::architecture::Architecture;
use mrpf_api::attack::Attack;
use mrpf_api::budget::{BudgetKind, LatencyTable};
use mrpf_api::criterion::Criterion;
use mrpf_api::data::DataSource;
use mrpf_api::network::Network;
use mrpf_api::schedule::PruningSchedule;
use mrpf_api::sensitivity::{ModuleSensitivity, SensitivityMetric};
use mrpf_api::trainer::AdversarialTrainer;
use mrpf_api::{Error, ErrorKind, Result};
use serde::Serialize;

use super::session::Session;
use crate::experiment::{EvaluateSettings, PluginChoice, Variant};
use crate::files::sha256;
use crate::stage_key::StageKey;
use crate::training::TrainingSettings;

impl Session<'_> {
    /// What every stage depends on.
    fn ground(&self) -> Result<StageKey> {
        let data = &self.experiment.data.name;
        Ok(StageKey::default()
            .with("mrpf", &env!("CARGO_PKG_VERSION"))?
            .with("seed", &self.experiment.seed)?
            .with("data.name", data)?
            .with_plugin::<dyn DataSource>(data))
    }

    /// The network that training begins with, where it is made anew.
    pub(super) fn fresh_key(&self) -> Result<StageKey> {
        let architecture = &self.experiment.network.architecture;
        let declaration = json_digest("declaration", &self.declare()?)?;
        Ok(StageKey::default()
            .with("network.architecture", architecture)?
            .with("declaration", &declaration)?
            .with_plugin::<dyn Architecture>(architecture))
    }

    /// Training with `settings`, which stand at `path` in the experiment, of what `start` says.
    pub(super) fn training_key(&self, path: &str, settings: &TrainingSettings, start: &StageKey) -> Result<StageKey> {
        let data = &self.experiment.data;
        let mut key = self
            .ground()?
            .with("data.train_images", &data.train_images)?
            .with("data.holdout", &data.holdout)?
            .with("data.split_seed", &data.split_seed)?
            .with("training images", &self.digests.train)?
            .with(path, settings)?
            // Where the teacher's file lies makes no difference; its content does.
            .without(&[&format!("{path}.teacher")])
            .with_plugin::<dyn AdversarialTrainer>(&settings.trainer);
        key.extend(start);
        Ok(key)
    }

    /// Measuring a network.
    pub(super) fn measuring_key(&self, metric: &PluginChoice) -> Result<StageKey> {
        Ok(self
            .ground()?
            .with("training images", &self.digests.train)?
            .with("prune.sensitivity", metric)?
            .with_plugin::<dyn SensitivityMetric>(metric))
    }

    /// Pruning a network.
    pub(super) fn pruning_key(&self, variant: &Variant) -> Result<StageKey> {
        let prune = &variant.prune;
        let mut left_out = vec!["prune.latency_table"];
        if !variant.needs_sensitivity()? {
            left_out.extend(["prune.sensitivity", "prune.combine", "prune.remeasure"]);
        }
        Ok(self
            .ground()?
            .with("training images", &self.digests.train)?
            .with("prune", prune)?
            .without(&left_out)
            .with_plugin::<dyn Criterion>(&prune.criterion)
            .with_plugin::<dyn Allocation>(&prune.allocation)
            .with_plugin::<dyn PruningSchedule>(&prune.schedule))
    }

    /// The same with what the pruning is given.
    pub(super) fn pruning_inputs(
        &self,
        variant: &Variant,
        dense: &Network,
        modules: &[ModuleSensitivity],
        times: Option<&LatencyTable>,
    ) -> Result<StageKey> {
        let mut key = self.pruning_key(variant)?.with_input("dense network", network_digest(dense)?);
        if variant.needs_sensitivity()? {
            key = key.with_input("sensitivities", json_digest("sensitivities", &modules)?);
        }
        match times.filter(|_| variant.prune.budget == BudgetKind::Latency) {
            Some(times) => Ok(key.with_input("times of layers", json_digest("times of layers", times)?)),
            None => Ok(key),
        }
    }

    /// Attacking a network.
    pub(super) fn attack_key(&self, settings: &EvaluateSettings) -> Result<StageKey> {
        let mut key = self
            .ground()?
            .with("test images", &self.digests.test)?
            .with("evaluate", settings)?
            // How many are attacked at once changes what happens to none of them.
            .without(&["evaluate.batch"]);
        for attack in &settings.attacks {
            key = key.with_plugin::<dyn Attack>(attack);
        }
        Ok(key)
    }
}

/// A digest of a value's JSON.
fn json_digest(what: &str, value: &impl Serialize) -> Result<String> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the {what} cannot be written as JSON: {error}")))?;
    Ok(sha256(&bytes))
}

/// A digest of a network's declaration, weights and statistics.
pub(super) fn network_digest(network: &Network) -> Result<String> {
    Ok(sha256(&network.to_bytes()?))
}
