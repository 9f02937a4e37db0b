//! The networks of one method at one setting, all seeds together, beside what statistics say of them.

use std::collections::BTreeMap;

use super::plot::Look;
use crate::comparison::findings::{Finding, Findings};
use crate::comparison::statistics::{Mean, MethodStatistics, Statistics};

/// What the seeds of one method at one setting have in common.
#[derive(Debug)]
pub struct Summary<'a> {
    /// Values of the varied settings, by path.
    pub settings: &'a BTreeMap<String, String>,
    /// Means over the seeds.
    pub figures: &'a MethodStatistics,
    /// The networks, one for each seed.
    pub findings: Vec<&'a Finding>,
}

impl Summary<'_> {
    /// The method.
    pub fn method(&self) -> &str {
        &self.figures.method
    }

    /// The mean of a figure over the seeds.
    pub fn mean(&self, figure: impl Fn(&Finding) -> f64) -> f64 {
        self.findings.iter().map(|finding| figure(finding)).sum::<f64>() / self.findings.len().max(1) as f64
    }

    /// Robust accuracy and its interval: Student's over the seeds, or Wilson's over the test images where there is one seed.
    pub fn robust(&self) -> (f64, [f64; 2]) {
        let Mean { mean, half, .. } = self.figures.robust;
        let interval = match (half, self.findings.first()) {
            (Some(half), _) => [(mean - half).max(0.0), (mean + half).min(1.0)],
            (None, Some(only)) => only.row.robust_interval,
            (None, None) => [mean; 2],
        };
        (mean, interval)
    }
}

/// One summary for each setting and method, in the order of the grid.
pub fn summaries<'a>(findings: &'a Findings, statistics: &'a Statistics) -> Vec<Summary<'a>> {
    let mut summaries = Vec::new();
    for setting in &statistics.settings {
        for figures in &setting.methods {
            let is_here = |finding: &&Finding| {
                finding.place.method == figures.method && finding.place.settings == setting.settings
            };
            let findings = findings.pruned.iter().filter(is_here).collect();
            summaries.push(Summary { settings: &setting.settings, figures, findings });
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
