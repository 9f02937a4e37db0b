//! A pruning plan: the channels that each group keeps.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::groups::{ChannelGroup, Member};
use crate::{Error, ErrorKind, Result};

/// Which channels stay, per group. Groups that are not named stay whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruningPlan {
    /// Kept channels by the group's name, ascending, never empty.
    pub keep: BTreeMap<String, Vec<usize>>,
}

impl PruningPlan {
    /// Keeps the `keep[i]` channels of group i that have the highest scores; among equal scores the earlier channel stays.
    ///
    /// Counts above the number of channels keep all. A group joined from several producers by a concatenation may lose all of one
    /// producer's channels that way; the best of those takes the place of the lowest that stays, because no layer can be left without
    /// any. Counts below what [`super::fewest_channels`] says keep so many.
    pub fn keep_highest(groups: &[ChannelGroup], scores: &[Vec<f64>], keep: &[usize]) -> Self {
        let mut plan = Self::default();
        for ((group, scores), &count) in groups.iter().zip(scores).zip(keep) {
            let mut order: Vec<usize> = (0..group.channels).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            plan.keep.insert(group.name.clone(), first_of(group, &order, count));
        }
        plan
    }

    /// The plan that does what this one does and then `later`, which numbers the channels that this one keeps.
    ///
    /// This plan must leave each group the channels that [`super::fewest_channels`] says; below them the smaller network may have
    /// other groups, which `later` would then speak of.
    #[must_use]
    pub fn compose(&self, later: &Self) -> Self {
        let mut composed = self.clone();
        for (group, keep) in &later.keep {
            let kept = match self.keep.get(group) {
                None => keep.clone(),
                Some(before) => keep.iter().filter_map(|&channel| before.get(channel).copied()).collect(),
            };
            composed.keep.insert(group.clone(), kept);
        }
        composed
    }

    /// Checks the plan against the groups of a network.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] for a group that the network does not have, [`ErrorKind::Budget`] for an empty or unsorted keep
    /// list, a layer that would be left without channels, a channel that does not exist, or a frozen group that would shrink.
    pub fn check(&self, groups: &[ChannelGroup]) -> Result<()> {
        for (name, keep) in &self.keep {
            let found = groups.iter().find(|group| group.name == *name);
            let group = found.ok_or_else(|| {
                Error::unknown_name("channel group", name, groups.iter().map(|group| group.name.as_str()))
            })?;
            let wrong = |why: String| Err(Error::new(ErrorKind::Budget, why).context(format!("group `{name}`")));
            if keep.is_empty() {
                return wrong("no channel would be left, expected at least one".into());
            }
            if let Some(member) = group.members.iter().find(|member| {
                // A channel that does not exist is answered below.
                keep.iter().all(|&channel| member.positions.get(channel).is_some_and(<[usize]>::is_empty))
            }) {
                return wrong(format!(
                    "nothing would be left of `{}`, expected at least one of its channels",
                    member.layer
                ));
            }
            if !keep.is_sorted_by(|a, b| a < b) {
                return wrong("its kept channels are not in ascending order".into());
            }
            if let Some(&channel) = keep.iter().find(|&&channel| channel >= group.channels) {
                return wrong(format!("channel {channel} of {}", group.channels));
            }
            if let Some(reason) = &group.frozen
                && keep.len() < group.channels
            {
                return wrong(format!("cannot be pruned: {reason}"));
            }
        }
        Ok(())
    }
}

/// The first `count` channels of `order`, ascending, with the first of every member that would have none in the place of the last ones.
fn first_of(group: &ChannelGroup, order: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(order.len());
    let mut kept = order[..count].to_vec();
    for member in &group.members {
        let present = |channel: &usize| !member.positions[*channel].is_empty();
        if !kept.iter().any(present) {
            kept.extend(order.iter().copied().find(present));
        }
    }
    for at in (0..count).rev() {
        if kept.len() <= count {
            break;
        }
        let channel = kept[at];
        let needed = |member: &Member| {
            let present = |channel: &&usize| !member.positions[**channel].is_empty();
            present(&&channel) && kept.iter().filter(present).count() == 1
        };
        if !group.members.iter().any(needed) {
            kept.remove(at);
        }
    }
    kept.sort_unstable();
    kept
}

/// `count` channels of a group that stand for any as many, ascending: every producer of a joined group gives its share.
pub(crate) fn typical_channels(group: &ChannelGroup, count: usize) -> Vec<usize> {
    let channels = group.channels;
    let count = count.min(channels);
    // Channels at which the running share passes a whole number come first, the others after them.
    let chosen = |channel: &usize| (channel + 1) * count / channels > channel * count / channels;
    let (mut order, rest): (Vec<usize>, Vec<usize>) = (0..channels).partition(chosen);
    order.extend(rest);
    first_of(group, &order, count)
}
