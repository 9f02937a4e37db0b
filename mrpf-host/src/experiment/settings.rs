//! The settings of an experiment, with their defaults.

use mrpf_api::attack::ThreatModel;
use mrpf_api::budget::{BudgetKind, Constraints};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::choice::PluginChoice;
use crate::files::path_text;
use crate::training::TrainingSettings;

/// Everything that a run depends on. Written as TOML, changed with `--set key=value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// A word for it: the run directory's default name.
    pub name: String,
    /// The seed that all randomness comes from.
    pub seed: u64,
    /// Plugin libraries to open before the rest is read; paths are relative to the file.
    #[serde(with = "path_text::list")]
    pub plugins: Vec<PathBuf>,
    /// Which images.
    pub data: DataSettings,
    /// Which network.
    pub network: NetworkSettings,
    /// Robust training of the dense network.
    pub pretrain: TrainingSettings,
    /// How the network is pruned: the method under test.
    pub prune: PruneSettings,
    /// Training after pruning, the same for every row.
    pub finetune: TrainingSettings,
    /// How networks are attacked and measured at the end.
    pub evaluate: EvaluateSettings,
    /// Whether a network is also trained without attacks, to show what robust training is worth.
    pub standard_baseline: bool,
    /// Other ways of pruning, set beside `prune` from the same checkpoint with the same fine-tuning.
    pub compare: Vec<CompareRow>,
    /// Of `mrpf compare`: which settings are varied over which values, and with which seeds.
    pub grid: GridSettings,
}

/// The grid of `mrpf compare`: every combination of these settings, each with every method and every seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridSettings {
    /// Values for each setting that is varied, by the setting's path: `"prune.ratio" = [0.5, 0.7]`.
    pub vary: BTreeMap<String, Vec<serde_json::Value>>,
    /// Seeds of pruning and fine-tuning; the experiment's seed alone when empty.
    pub seeds: Vec<u64>,
    /// Whether all seeds start from one dense network, or each from its own.
    pub pretraining: Pretraining,
    /// Metrics to measure beside those that methods use, to see how far they agree.
    pub metrics: Vec<PluginChoice>,
}

/// Which dense network the runs of a seed start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pretraining {
    /// All from one, trained with the experiment's seed: what differs between seeds is pruning and fine-tuning alone.
    #[default]
    Shared,
    /// Each from its own, so that differences between seeds include the pretraining.
    PerSeed,
}

/// Which images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The data set; `mrpf plugins list` shows them.
    pub name: PluginChoice,
    /// The folder that holds its files, where it needs one.
    #[serde(default, with = "path_text::optional")]
    pub dir: Option<PathBuf>,
    /// Use only this many training images, class-balanced; all when not given.
    pub train_images: Option<usize>,
    /// Share of the training images of each class that is held out to choose the best epoch, from 0 to 0.5; each class keeps an image.
    pub holdout: f64,
    /// Seed that chooses the held-out images and, with `train_images`, those trained on; the run's seed when not given.
    pub split_seed: Option<u64>,
}

/// Which network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// The architecture; `mrpf plugins list` shows them.
    pub architecture: PluginChoice,
}

/// How the network is pruned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneSettings {
    /// Sensitivity of each module; measured only if the allocation asks for it.
    pub sensitivity: PluginChoice,
    /// Which channels of a group go first.
    pub criterion: PluginChoice,
    /// How much of each group goes.
    pub allocation: PluginChoice,
    /// How the ratio grows over the rounds.
    pub schedule: PluginChoice,
    /// Rounds of pruning and fine-tuning; a one-shot schedule needs one only. The fine-tuning epochs are shared out among them.
    pub rounds: usize,
    /// Share of the budget's figure to remove, in [0, 1).
    pub ratio: f64,
    /// What the ratio counts: macs, params, channels, bytes or latency.
    pub budget: BudgetKind,
    /// For a latency budget: the table of layer times of another run, `latency-table.json`; measured when not given.
    #[serde(default, with = "path_text::optional")]
    pub latency_table: Option<PathBuf>,
    /// What every allocation must leave: widths that are multiples, a floor and a ceiling of each group, layers left whole.
    pub constraints: Constraints,
    /// How the sensitivities of the modules that produce a group's channels become the group's: max or mean.
    pub combine: Combine,
    /// With several rounds: measure sensitivities anew before each, instead of once on the dense network.
    pub remeasure: bool,
}

/// From the sensitivities of a group's modules to the group's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// The most sensitive module decides: the group is only as expendable as its least expendable producer.
    #[default]
    Max,
    /// The mean.
    Mean,
}

/// How networks are attacked and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSettings {
    /// The attacks, each by itself; a row's robust accuracy is the share of images that survives all of them.
    pub attacks: Vec<PluginChoice>,
    /// Norm and radius of the attacks.
    pub threat: ThreatModel,
    /// Use only this many test images, the first ones; all when not given.
    pub images: Option<usize>,
    /// Images attacked at once; does not change the result.
    pub batch: usize,
    /// Draw accuracy against radius and against steps on this many images, the first ones; 0 for none. When not given `mrpf evaluate`
    /// takes 100, and runs and comparisons draw none.
    pub curves: Option<usize>,
}

/// A row of the comparison: what it changes of `prune` and `finetune`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompareRow {
    /// Name of the row; made from its plugins when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In place of `prune.sensitivity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<PluginChoice>,
    /// In place of `prune.criterion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criterion: Option<PluginChoice>,
    /// In place of `prune.allocation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<PluginChoice>,
    /// In place of `prune.schedule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<PluginChoice>,
    /// In place of `prune.ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// In place of `finetune.trainer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainer: Option<PluginChoice>,
}
