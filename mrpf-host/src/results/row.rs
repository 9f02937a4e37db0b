//! A row of the comparison, and all of them as `results.json`.

use mrpf_api::coupling::Cost;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::interval::wilson;
use crate::evaluation::{Evaluation, Latency};
use crate::experiment::Experiment;

/// One network of the comparison.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The row's name.
    pub name: String,
    /// The sensitivity metric, where one decided.
    pub sensitivity: Option<String>,
    /// The criterion; none for dense networks.
    pub criterion: Option<String>,
    /// The allocation; none for dense networks.
    pub allocation: Option<String>,
    /// The pruning schedule; none for dense networks.
    pub schedule: Option<String>,
    /// The trainer of the last training.
    pub trainer: String,
    /// Share of the budget's figure that was asked to go.
    pub ratio_asked: f64,
    /// Share that went, measured on the network.
    pub ratio_achieved: f64,
    /// What the ratios count.
    pub budget: String,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Trainable parameters.
    pub params: u64,
    /// Test images.
    pub images: usize,
    /// Share classified rightly, from 0 to 1.
    pub clean_accuracy: f64,
    /// Its 95 % interval.
    pub clean_interval: [f64; 2],
    /// Share that survives every attack, from 0 to 1.
    pub robust_accuracy: f64,
    /// Its 95 % interval.
    pub robust_interval: [f64; 2],
    /// Radius of the attacks, as it was written.
    pub epsilon: String,
    /// Each attack by itself.
    pub attacks: BTreeMap<String, AttackResult>,
    /// Clean accuracy as cut, before fine-tuning.
    pub clean_accuracy_pruned: Option<f64>,
    /// Robust accuracy as cut, before fine-tuning.
    pub robust_accuracy_pruned: Option<f64>,
    /// Robust accuracy on held-out images at the chosen epoch and at the last: a gap is robust overfitting.
    pub best_and_last_robust: Option<[f64; 2]>,
    /// Why asked and achieved ratio differ by more than a percent, if they do.
    pub shortfall: Option<String>,
    /// Signs of false robustness.
    pub warnings: Vec<String>,
    /// The run seed.
    pub seed: u64,
    /// The saved network, relative to the run directory.
    pub model: String,
    /// Time of a pass on this machine; kept in `latency/`, as it is never the same twice.
    #[serde(skip)]
    pub latency: Option<Latency>,
}

/// What one attack left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackResult {
    /// Share that survives it, from 0 to 1.
    pub robust_accuracy: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

impl Row {
    /// A row with what was measured of a network.
    pub fn measured(name: &str, cost: &Cost, evaluation: &Evaluation) -> Self {
        let images = evaluation.images;
        let share = |count: usize| count as f64 / images.max(1) as f64;
        let attack =
            |survivors: usize| AttackResult { robust_accuracy: share(survivors), interval: wilson(survivors, images) };
        Self {
            name: name.into(),
            macs: cost.macs,
            params: cost.params,
            images,
            clean_accuracy: evaluation.clean_accuracy(),
            clean_interval: wilson(evaluation.clean, images),
            robust_accuracy: evaluation.robust_accuracy(),
            robust_interval: wilson(evaluation.robust, images),
            attacks: evaluation.attacks.iter().map(|record| (record.name.clone(), attack(record.survivors))).collect(),
            warnings: evaluation.warnings.clone(),
            ..Self::default()
        }
    }
}

/// Everything that a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of mrpf.
    pub version: String,
    /// The experiment's name.
    pub experiment: String,
    /// The data set.
    pub data: String,
    /// The architecture.
    pub architecture: String,
    /// Norm of the attacks.
    pub norm: String,
    /// Radius of the attacks, as it was written; where rows differ in it, all of them with commas between.
    pub epsilon: String,
    /// The run seed.
    pub seed: u64,
    /// The networks.
    pub rows: Vec<Row>,
}

impl Results {
    /// The results of an experiment.
    pub fn new(experiment: &Experiment, rows: Vec<Row>) -> Self {
        // `mrpf evaluate --epsilons` attacks with other radii than the experiment's, so the rows are asked first.
        let epsilon = match radii(&rows).join(", ") {
            none if none.is_empty() => experiment.evaluate.threat.epsilon.to_string(),
            radii => radii,
        };
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            experiment: experiment.name.clone(),
            data: experiment.data.name.name.clone(),
            architecture: experiment.network.architecture.name.clone(),
            norm: experiment.evaluate.threat.norm.name().into(),
            epsilon,
            seed: experiment.seed,
            rows,
        }
    }
}

/// The different radii of the rows, in their order.
pub(super) fn radii(rows: &[Row]) -> Vec<&str> {
    let mut radii: Vec<&str> = Vec::new();
    for row in rows {
        if !row.epsilon.is_empty() && !radii.contains(&row.epsilon.as_str()) {
            radii.push(&row.epsilon);
        }
    }
    radii
}
