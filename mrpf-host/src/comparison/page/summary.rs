//! The networks of one method at one setting, all seeds together.

use std::collections::BTreeMap;

use super::plot::Look;
use crate::comparison::findings::{Finding, Findings};

/// What the seeds of one method at one setting have in common.
#[derive(Debug)]
pub struct Summary<'a> {
    /// Values of the varied settings, by path.
    pub settings: &'a BTreeMap<String, String>,
    /// The method.
    pub method: &'a str,
    /// Its networks, one for each seed; never empty.
    pub findings: Vec<&'a Finding>,
}

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Least and greatest, or the interval of the one value there is.
    pub ends: [f64; 2],
}

impl Summary<'_> {
    /// The mean of a figure over the seeds.
    pub fn mean(&self, figure: impl Fn(&Finding) -> f64) -> f64 {
        self.findings.iter().map(|finding| figure(finding)).sum::<f64>() / self.findings.len().max(1) as f64
    }

    /// Mean over the seeds of a share that has an interval of its own for each seed.
    pub fn spread(&self, figure: impl Fn(&Finding) -> (f64, [f64; 2])) -> Spread {
        let mean = self.mean(|finding| figure(finding).0);
        let ends = match self.findings.as_slice() {
            [one] => figure(one).1,
            all => all
                .iter()
                .map(|finding| figure(finding).0)
                .fold([mean; 2], |[low, high], value| [low.min(value), high.max(value)]),
        };
        Spread { mean, ends }
    }

    /// Robust accuracy.
    pub fn robust(&self) -> Spread {
        self.spread(|finding| (finding.row.robust_accuracy, finding.row.robust_interval))
    }

    /// Clean accuracy.
    pub fn clean(&self) -> Spread {
        self.spread(|finding| (finding.row.clean_accuracy, finding.row.clean_interval))
    }

    /// Multiply-accumulates of one image.
    pub fn macs(&self) -> f64 {
        self.mean(|finding| finding.row.macs as f64)
    }
}

/// One summary for each setting and method, in the order of the findings.
pub fn summaries(findings: &Findings) -> Vec<Summary<'_>> {
    let mut summaries: Vec<Summary<'_>> = Vec::new();
    for finding in &findings.pruned {
        let place = &finding.place;
        let same = |summary: &&mut Summary<'_>| summary.method == place.method && *summary.settings == place.settings;
        match summaries.iter_mut().find(same) {
            Some(summary) => summary.findings.push(finding),
            None => {
                summaries.push(Summary { settings: &place.settings, method: &place.method, findings: vec![finding] })
            }
        }
    }
    summaries
}

/// How the method is drawn, the same in all plots.
pub fn look(findings: &Findings, method: &str) -> Look {
    Look::of(findings.methods.iter().position(|known| known == method).unwrap_or(findings.methods.len()))
}

/// `ratio 0.5, trainer trades` of such settings; empty if there are none. The last word of a path stands for it.
pub fn settings_text<'a>(settings: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let word = |path: &'a str| path.rsplit('.').next().unwrap_or(path);
    let parts: Vec<String> = settings.into_iter().map(|(path, value)| format!("{} {value}", word(path))).collect();
    parts.join(", ")
}

/// Items that belong together by `key`, in the order in which the keys first come.
pub fn grouped<'a, T, K: PartialEq>(
    items: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Vec<&'a T>)> {
    let mut groups: Vec<(K, Vec<&T>)> = Vec::new();
    for item in items {
        let key = key(item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}
