//! Whether two ratings put the same things in the same order: two sensitivity metrics, or a metric and what pruning really did.

use mrpf_api::coupling::ChannelGroup;
use mrpf_api::sensitivity::ModuleSensitivity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::super::findings::{DenseFinding, Findings};
use super::correlation::{kendall_tau_b, spearman};
use crate::experiment::Combine;
use crate::pruning::group_sensitivities;

/// How alike two metrics order what is pruned. A metric that prunes and measures tells the real drop: its agreement with another says how
/// well that one foresees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The dense network that both were measured on.
    pub network: String,
    /// A metric.
    pub first: String,
    /// Another.
    pub second: String,
    /// What is ordered.
    pub unit: Unit,
    /// How many of them both rate.
    pub count: usize,
    /// Spearman's rank correlation, if there is an order to compare.
    pub spearman: Option<f64>,
    /// Kendall's tau-b, if there is an order to compare.
    pub kendall: Option<f64>,
}

/// What metrics rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Channel groups that may be cut, each with its modules' values combined as in pruning.
    Groups,
    /// Modules, where no pruned network tells the groups.
    Modules,
}

/// Spearman's and Kendall's correlation of two ratings over what both rate, and how many that are.
pub fn agreement(first: &[(String, f64)], second: &[(String, f64)]) -> (usize, Option<f64>, Option<f64>) {
    let others: BTreeMap<&str, f64> = second.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let both = first.iter().filter_map(|(name, value)| Some((*value, *others.get(name.as_str())?)));
    let (a, b): (Vec<f64>, Vec<f64>) = both.unzip();
    (a.len(), spearman(&a, &b), kendall_tau_b(&a, &b))
}

/// Every two metrics that were measured on the same network.
pub(super) fn of_metrics(findings: &Findings) -> Vec<Agreement> {
    let mut found = Vec::new();
    for (at, dense) in findings.dense.iter().enumerate() {
        let cut =
            findings.pruned.iter().find(|pruned| pruned.dense == Some(at)).and_then(|pruned| pruned.cut.rounds.first());
        let groups: Option<Vec<ChannelGroup>> =
            cut.map(|first| first.groups.iter().map(|record| record.group.clone()).collect());
        let rated = rated(dense, groups.as_deref(), findings.experiment.prune.combine);
        let unit = if groups.is_some() { Unit::Groups } else { Unit::Modules };
        for (at, (first, values)) in rated.iter().enumerate() {
            for (second, others) in &rated[at + 1..] {
                let (count, spearman, kendall) = agreement(values, others);
                let (network, first, second) = (dense.row.name.clone(), first.clone(), second.clone());
                found.push(Agreement { network, first, second, unit, count, spearman, kendall });
            }
        }
    }
    found
}

/// Each metric with its values, by group if the groups are known.
fn rated(dense: &DenseFinding, groups: Option<&[ChannelGroup]>, combine: Combine) -> Vec<(String, Vec<(String, f64)>)> {
    let by_module = |modules: &[ModuleSensitivity]| -> Vec<(String, f64)> {
        modules.iter().map(|module| (module.module.clone(), module.value)).collect()
    };
    let by_group = |groups: &[ChannelGroup], modules: &[ModuleSensitivity]| -> Vec<(String, f64)> {
        let values = groups.iter().zip(group_sensitivities(groups, modules, combine));
        let values = values.filter(|(group, _)| group.frozen.is_none());
        values.filter_map(|(group, value)| Some((group.name.clone(), value?))).collect()
    };
    let values = |modules: &[ModuleSensitivity]| match groups {
        Some(groups) => by_group(groups, modules),
        None => by_module(modules),
    };
    dense.sensitivities.iter().map(|(metric, modules)| (metric.clone(), values(modules))).collect()
}
