//! What a comparison found: one finding for each method, setting and seed, with the evidence that tables, statistics and pages need.

use mrpf_api::coupling::Cost;
use mrpf_api::sensitivity::ModuleSensitivity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::evaluation::Evaluation;
use crate::experiment::Experiment;
use crate::pipeline::{PrunedRow, TrainedRecord};
use crate::results::Row;

/// Everything that a comparison found. Rows stand in the order of the grid: settings, then methods, then seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The experiment that every run changes; its `grid` says how.
    pub experiment: Experiment,
    /// The settings that the grid varies, by path, with their values as they are shown.
    pub axes: Vec<Axis>,
    /// The methods, in their order: the experiment's own and the rows of its `compare`.
    pub methods: Vec<String>,
    /// The dense networks that the others were cut from.
    pub dense: Vec<DenseFinding>,
    /// The pruned networks.
    pub pruned: Vec<Finding>,
    /// What could not be computed, and why.
    pub failures: Vec<Failure>,
}

impl Findings {
    /// The dense network that `pruned` was cut from, if it was attacked.
    pub fn dense_of(&self, pruned: &Finding) -> Option<&DenseFinding> {
        self.dense.get(pruned.dense?)
    }
}

/// A setting that the grid varies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Its path, for example `prune.ratio`.
    pub setting: String,
    /// Its values as they are shown, for example `0.5`, or `trades (beta 3)`.
    pub values: Vec<String>,
}

/// What a pruned network is: where it stands in the grid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Value of each setting that the grid varies, as it is shown, by path.
    pub settings: BTreeMap<String, String>,
    /// The method.
    pub method: String,
    /// The seed of pruning and fine-tuning.
    pub seed: u64,
}

/// A dense network, trained before pruning.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseFinding {
    /// Value of those settings of the grid that it depends on, by path.
    pub settings: BTreeMap<String, String>,
    /// The figures; `row.seed` is the seed that it was trained with.
    pub row: Row,
    /// Its training.
    pub training: TrainedRecord,
    /// What became of every test image.
    pub evaluation: Evaluation,
    /// Sensitivities measured on it, by metric (with its settings where one metric is used twice).
    pub sensitivities: Vec<(String, Vec<ModuleSensitivity>)>,
    /// The saved network.
    pub network: PathBuf,
}

/// A pruned and fine-tuned network.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Where it stands in the grid.
    pub place: Place,
    /// Which of [`Findings::dense`] it was cut from; none where that one could not be attacked.
    pub dense: Option<usize>,
    /// The figures.
    pub row: Row,
    /// Cost, to the budget's figure and beside it.
    pub cost: Cost,
    /// What was cut and why: kept channels, scores and sensitivities of each group, round by round.
    pub cut: PrunedRow,
    /// The last fine-tuning, epoch by epoch.
    pub training: TrainedRecord,
    /// What became of every test image in the end.
    pub evaluation: Evaluation,
    /// The saved network.
    pub network: PathBuf,
}

/// A stage that could not be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage, for example `prune l1-norm-uniform, prune.ratio 0.9, seed 1`.
    pub stage: String,
    /// What went wrong, as it was told.
    pub reason: String,
    /// The rows that are missing because of it.
    pub places: Vec<Place>,
}
