//! How much of what one method keeps another keeps too.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Discrete, Hypergeometric};
use std::collections::BTreeSet;

use super::mean::Mean;
use super::rounding::rounded;
use crate::pipeline::PrunedRow;

/// The overlap of what two methods keep at the same setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// A method.
    pub first: String,
    /// Another.
    pub second: String,
    /// Mean over the groups, in [0, 1].
    pub jaccard: f64,
    /// What it would be if both chose as many channels at random.
    pub by_chance: f64,
    /// Each group that may be cut.
    pub groups: Vec<GroupOverlap>,
}

/// The overlap in one channel group; means over the seeds that both methods have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupOverlap {
    /// The group.
    pub group: String,
    /// Its channels in the dense network.
    pub channels: usize,
    /// Channels that both keep over channels that either keeps, in [0, 1].
    pub jaccard: f64,
    /// What that would be by chance.
    pub by_chance: f64,
}

/// Elements of both over elements of either (Jaccard 1901), in [0, 1]; 1 of two empty sets.
pub fn jaccard(first: &[usize], second: &[usize]) -> f64 {
    let [first, second] = [first, second].map(|set| set.iter().collect::<BTreeSet<_>>());
    match first.union(&second).count() {
        0 => 1.0,
        either => first.intersection(&second).count() as f64 / either as f64,
    }
}

/// The mean [`jaccard`] of `first` and `second` channels chosen at random among `channels`; counts above that are all of them.
pub fn jaccard_by_chance(channels: usize, first: usize, second: usize) -> f64 {
    let [channels, first, second] = [channels, first.min(channels), second.min(channels)].map(|count| count as u64);
    if first + second == 0 {
        return 1.0;
    }
    // How many of the second's channels are the first's too.
    let Ok(shared) = Hypergeometric::new(channels, first, second) else { return 1.0 };
    let possible = (first + second).saturating_sub(channels)..=first.min(second);
    let mean: f64 = possible.map(|both| shared.pmf(both) * both as f64 / (first + second - both) as f64).sum();
    rounded(mean).clamp(0.0, 1.0)
}

/// The overlap of two methods; `cuts` are theirs, seed by seed. None without a seed or a group in common.
pub(super) fn overlap(first: &str, second: &str, cuts: &[(&PrunedRow, &PrunedRow)]) -> Option<Overlap> {
    // A later round numbers channels anew; the first one knows the groups of the dense network.
    let groups = &cuts.first()?.0.rounds.first()?.groups;
    let mut found = Vec::new();
    for record in groups.iter().filter(|record| record.group.frozen.is_none()) {
        let (group, channels) = (&record.group.name, record.group.channels);
        let kept = |cut: &PrunedRow| cut.plan.keep.get(group).cloned().unwrap_or_else(|| (0..channels).collect());
        let each: Vec<(f64, f64)> = cuts
            .iter()
            .map(|(a, b)| (kept(a), kept(b)))
            .map(|(a, b)| (jaccard(&a, &b), jaccard_by_chance(channels, a.len(), b.len())))
            .collect();
        let (jaccard, by_chance): (Vec<f64>, Vec<f64>) = each.into_iter().unzip();
        let [jaccard, by_chance] = [jaccard, by_chance].map(|values| mean(&values));
        found.push(GroupOverlap { group: group.clone(), channels, jaccard, by_chance });
    }
    let mean_of = |value: fn(&GroupOverlap) -> f64| mean(&found.iter().map(value).collect::<Vec<f64>>());
    let (jaccard, by_chance) = (mean_of(|group| group.jaccard), mean_of(|group| group.by_chance));
    (!found.is_empty()).then(|| Overlap {
        first: first.into(),
        second: second.into(),
        jaccard,
        by_chance,
        groups: found,
    })
}

fn mean(values: &[f64]) -> f64 {
    Mean::of(values).map_or(0.0, |mean| mean.mean)
}
