//! The methods at one setting of the grid.

use mrpf_api::rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::super::findings::{Axis, Finding, Findings};
use super::mean::Mean;
use super::overlap::{Overlap, overlap};
use super::pairs::{Outcome, Pair, in_common};
use super::ranking::Ranking;
use crate::evaluation::Evaluation;

/// One setting of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingStatistics {
    /// The values of what the grid varies, by path.
    pub settings: BTreeMap<String, String>,
    /// The methods that were computed, in their order.
    pub methods: Vec<MethodStatistics>,
    /// Every two of them, for each outcome.
    pub pairs: Vec<Pair>,
    /// The methods ranked by robust accuracy.
    pub ranking: Ranking,
    /// What every two of them keep.
    pub overlaps: Vec<Overlap>,
}

/// A method at a setting: means over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodStatistics {
    /// The method.
    pub method: String,
    /// Its seeds that were computed.
    pub seeds: Vec<u64>,
    /// Multiply-accumulates of one image.
    pub macs: Mean,
    /// Their share of the dense network's, in [0, 1].
    pub macs_kept: Mean,
    /// Trainable parameters.
    pub params: Mean,
    /// Their share of the dense network's, in [0, 1].
    pub params_kept: Mean,
    /// Clean accuracy, in [0, 1].
    pub clean: Mean,
    /// Robust accuracy, in [0, 1].
    pub robust: Mean,
    /// Clean accuracy of the dense network less that of the pruned one, where the dense one is known.
    pub clean_drop: Option<Mean>,
    /// Robust accuracy of the dense network less that of the pruned one, where the dense one is known.
    pub robust_drop: Option<Mean>,
    /// Its classes in the ranking, from 1.
    pub classes: Vec<usize>,
}

/// The settings of the grid in their order, not yet corrected and ranked.
pub(super) fn settings(findings: &Findings) -> Vec<SettingStatistics> {
    let missing = findings.failures.iter().flat_map(|failure| &failure.places);
    let places = findings.pruned.iter().map(|finding| &finding.place).chain(missing);
    let mut found: Vec<&BTreeMap<String, String>> =
        places.map(|place| &place.settings).collect::<BTreeSet<_>>().into_iter().collect();
    found.sort_by_key(|settings| in_grid(findings, settings));
    found.into_iter().map(|settings| setting(findings, settings)).collect()
}

/// Where the settings stand in the grid: the place of each value among its axis's.
fn in_grid(findings: &Findings, settings: &BTreeMap<String, String>) -> Vec<Option<usize>> {
    let place = |axis: &Axis| {
        let value = settings.get(&axis.setting)?;
        axis.values.iter().position(|known| known == value)
    };
    findings.axes.iter().map(place).collect()
}

fn setting(findings: &Findings, settings: &BTreeMap<String, String>) -> SettingStatistics {
    let of_method = |method: &String| -> Vec<&Finding> {
        let at = |finding: &&Finding| finding.place.method == *method && finding.place.settings == *settings;
        findings.pruned.iter().filter(at).collect()
    };
    let networks: Vec<Vec<&Finding>> =
        findings.methods.iter().map(of_method).filter(|networks| !networks.is_empty()).collect();
    let methods = networks.iter().filter_map(|networks| method(findings, networks)).collect();
    let both: Vec<(&[&Finding], &[&Finding])> = networks
        .iter()
        .enumerate()
        .flat_map(|(at, first)| networks[at + 1..].iter().map(move |second| (first.as_slice(), second.as_slice())))
        .collect();
    let tasks: Vec<_> =
        Outcome::ALL.iter().flat_map(|outcome| both.iter().map(move |both| (*outcome, *both))).collect();
    // Collected in order, whichever is done first.
    let pairs: Vec<Option<Pair>> =
        tasks.into_par_iter().map(|(outcome, (first, second))| Pair::new(outcome, first, second)).collect();
    let overlaps = both.iter().filter_map(|(first, second)| {
        let cuts: Vec<_> = in_common(first, second).into_iter().map(|(a, b)| (&a.cut, &b.cut)).collect();
        overlap(&first.first()?.place.method, &second.first()?.place.method, &cuts)
    });
    SettingStatistics {
        settings: settings.clone(),
        methods,
        pairs: pairs.into_iter().flatten().collect(),
        ranking: Ranking::default(),
        overlaps: overlaps.collect(),
    }
}

fn method(findings: &Findings, networks: &[&Finding]) -> Option<MethodStatistics> {
    let mean = |figure: &dyn Fn(&Finding) -> f64| {
        Mean::of(&networks.iter().map(|finding| figure(finding)).collect::<Vec<f64>>())
    };
    let kept = |pruned: u64, dense: u64| pruned as f64 / dense.max(1) as f64;
    let drop = |accuracy: fn(&Evaluation) -> f64| {
        let of = |finding: &&Finding| {
            Some(accuracy(&findings.dense_of(finding)?.evaluation) - accuracy(&finding.evaluation))
        };
        Mean::of(&networks.iter().filter_map(of).collect::<Vec<f64>>())
    };
    let seeds: BTreeSet<u64> = networks.iter().map(|finding| finding.place.seed).collect();
    Some(MethodStatistics {
        method: networks.first()?.place.method.clone(),
        seeds: seeds.into_iter().collect(),
        macs: mean(&|finding| finding.cost.macs as f64)?,
        macs_kept: mean(&|finding| kept(finding.cost.macs, finding.cut.dense.macs))?,
        params: mean(&|finding| finding.cost.params as f64)?,
        params_kept: mean(&|finding| kept(finding.cost.params, finding.cut.dense.params))?,
        clean: mean(&|finding| finding.evaluation.clean_accuracy())?,
        robust: mean(&|finding| finding.evaluation.robust_accuracy())?,
        clean_drop: drop(Evaluation::clean_accuracy),
        robust_drop: drop(Evaluation::robust_accuracy),
        classes: Vec::new(),
    })
}

impl SettingStatistics {
    /// The pair of two methods for an outcome, if they could be compared.
    pub fn pair(&self, outcome: Outcome, a: &str, b: &str) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.outcome == outcome && pair.is_of(a, b))
    }

    /// Ranks the methods, once it is known which differences are shown.
    pub(super) fn rank(&mut self) {
        let mut order: Vec<&MethodStatistics> = self.methods.iter().collect();
        // The sort is stable: among equals the order of the methods stays.
        order.sort_by(|a, b| {
            b.robust.mean.total_cmp(&a.robust.mean).then_with(|| b.clean.mean.total_cmp(&a.clean.mean))
        });
        let names: Vec<&str> = order.iter().map(|method| method.method.as_str()).collect();
        let shown = |a: usize, b: usize| match self.pair(Outcome::Robust, names[a], names[b]) {
            Some(pair) if pair.shown && (pair.difference > 0.0) == (pair.first == names[a]) => Ordering::Greater,
            Some(pair) if pair.shown => Ordering::Less,
            _ => Ordering::Equal,
        };
        let mut ranking = Ranking::new(&names, shown);
        if !self.pairs.is_empty() && self.pairs.iter().all(|pair| pair.seeds.len() < 2) {
            ranking.words.push_str("; with one seed this is about these networks, not about the methods");
        }
        self.methods.iter_mut().for_each(|method| method.classes = ranking.of(&method.method));
        self.ranking = ranking;
    }
}
