//! `results.json`: everything that tables and statistics say, for programs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::super::findings::{Axis, Failure, Findings};
use super::super::statistics::Statistics;
use super::versions::Versions;
use crate::results::{Results, Row};

/// What a comparison found. Whoever reads the `results.json` of a run reads this too: its rows have the same fields and some beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonResults {
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
    /// The experiment's seed.
    pub seed: u64,
    /// What the grid varies.
    pub axes: Vec<Axis>,
    /// The methods in their order.
    pub methods: Vec<String>,
    /// The dense networks, then the pruned ones.
    pub rows: Vec<ComparisonRow>,
    /// What is shown and what is not.
    pub statistics: Statistics,
    /// What could not be computed.
    pub failures: Vec<Failure>,
    /// What computed it.
    pub versions: Versions,
}

/// A network of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRow {
    /// The figures, as in the results of a run.
    #[serde(flatten)]
    pub row: Row,
    /// The method; none for dense networks.
    pub method: Option<String>,
    /// The values of what the grid varies, by path; for dense networks those that they depend on.
    pub settings: BTreeMap<String, String>,
    /// The row of the dense network that it was cut from, counted from 0; none for dense networks.
    pub dense: Option<usize>,
}

impl ComparisonResults {
    /// Puts them together.
    pub(super) fn new(findings: &Findings, statistics: &Statistics) -> Self {
        let dense = findings.dense.iter().map(|dense| ComparisonRow {
            row: dense.row.clone(),
            method: None,
            settings: dense.settings.clone(),
            dense: None,
        });
        let pruned = findings.pruned.iter().map(|pruned| ComparisonRow {
            row: pruned.row.clone(),
            method: Some(pruned.place.method.clone()),
            settings: pruned.place.settings.clone(),
            dense: pruned.dense,
        });
        let rows: Vec<ComparisonRow> = dense.chain(pruned).collect();
        let results = Results::new(&findings.experiment, rows.iter().map(|row| row.row.clone()).collect());
        Self {
            version: results.version,
            experiment: results.experiment,
            data: results.data,
            architecture: results.architecture,
            norm: results.norm,
            epsilon: results.epsilon,
            seed: results.seed,
            axes: findings.axes.clone(),
            methods: findings.methods.clone(),
            rows,
            statistics: statistics.clone(),
            failures: findings.failures.clone(),
            versions: Versions::of(findings),
        }
    }
}
