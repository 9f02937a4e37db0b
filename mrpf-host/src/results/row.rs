//! A row of the comparison, and all of them as `results.json`.

use mrpf_api::coupling::Cost;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::attacked::{AttackedNetwork, CurvePoint};
use super::interval::wilson;
use crate::evaluation::{AttackRecord, Evaluation, Latency, LeftOut, PartRecord, Sign};
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
    /// Signs of false robustness that showed.
    pub signs: Vec<Sign>,
    /// Side measurements that could not be made, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
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
    /// Share that survives it by itself, from 0 to 1.
    pub robust_accuracy: f64,
    /// Test images.
    pub images: usize,
    /// The share's 95 % interval.
    pub interval: [f64; 2],
    /// For an attack of several parts, what was left after each and those before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartResult>,
    /// For an attack that seeks the nearest image, what survives it within smaller radii.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security: Vec<CurvePoint>,
    /// What the attack said of itself that people should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// What was left after a part of an attack and those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartResult {
    /// The part's name.
    pub name: String,
    /// Share that survives, from 0 to 1.
    pub robust_accuracy: f64,
}

impl AttackResult {
    /// The shares of a record of so many images.
    pub fn new(record: &AttackRecord, images: usize) -> Self {
        let share = |survivors: usize| survivors as f64 / images.max(1) as f64;
        let part = |part: &PartRecord| PartResult { name: part.name.clone(), robust_accuracy: share(part.survivors) };
        Self {
            robust_accuracy: share(record.survivors),
            images,
            interval: wilson(record.survivors, images),
            parts: record.parts.iter().map(part).collect(),
            security: Vec::new(),
            remarks: record.remarks.clone(),
        }
    }
}

impl Row {
    /// A row with what was measured of a network.
    pub fn measured(name: &str, cost: &Cost, evaluation: &Evaluation) -> Self {
        let images = evaluation.images;
        Self {
            name: name.into(),
            macs: cost.macs,
            params: cost.params,
            images,
            clean_accuracy: evaluation.clean_accuracy(),
            clean_interval: wilson(evaluation.clean, images),
            robust_accuracy: evaluation.robust_accuracy(),
            robust_interval: wilson(evaluation.robust, images),
            attacks: evaluation
                .attacks
                .iter()
                .map(|record| (record.name.clone(), AttackResult::new(record, images)))
                .collect(),
            signs: evaluation.signs.clone(),
            left_out: evaluation.left_out.clone(),
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
    /// Of `mrpf evaluate`: everything about the one network, beside its rows.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<AttackedNetwork>,
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
            attacked: None,
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
