//! Budgets: what the pruned network may cost, and how a family of allocations is solved for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::coupling::{ChannelGroup, Cost, cost, shrink, typical_channels};
use crate::network::Declaration;
use crate::{Error, ErrorKind, Result};

/// What a budget counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetKind {
    /// Multiply-accumulates of one image.
    #[default]
    Macs,
    /// Trainable parameters.
    Params,
    /// Output channels.
    Channels,
}

impl BudgetKind {
    /// The name in settings and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::Params => "params",
            Self::Channels => "channels",
        }
    }

    /// The counted figure.
    pub fn of(self, cost: &Cost) -> u64 {
        match self {
            Self::Macs => cost.macs,
            Self::Params => cost.params,
            Self::Channels => cost.channels,
        }
    }
}

/// How far the achieved ratio may be from the asked one before it is said.
pub const TOLERANCE: f64 = 0.01;

/// A budget to be met by choosing how many channels each group keeps.
#[derive(Debug, Clone)]
pub struct BudgetProblem {
    declaration: Declaration,
    groups: Vec<ChannelGroup>,
    kind: BudgetKind,
    reference: u64,
    ratio: f64,
}

/// How close a solution came.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// Channels that each group keeps, in the order of the groups.
    pub keep: Vec<usize>,
    /// The measured share removed.
    pub achieved: f64,
    /// What stands between the asked and the achieved ratio, when they differ by more than [`TOLERANCE`].
    pub shortfall: Option<String>,
}

impl BudgetProblem {
    /// A problem on `declaration`: remove the share `ratio` in [0, 1) of `reference`, the cost of the network that ratios refer to
    /// (the dense one, when pruning goes in rounds).
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if the ratio is outside [0, 1).
    pub fn new(
        declaration: &Declaration,
        groups: &[ChannelGroup],
        kind: BudgetKind,
        reference: &Cost,
        ratio: f64,
    ) -> Result<Self> {
        if !(0.0..1.0).contains(&ratio) {
            let message = format!("pruning ratio {ratio}, expected the share to remove: at least 0 and below 1");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let reference = kind.of(reference);
        Ok(Self { declaration: declaration.clone(), groups: groups.to_vec(), kind, reference, ratio })
    }

    /// The groups, frozen ones included.
    pub fn groups(&self) -> &[ChannelGroup] {
        &self.groups
    }

    /// The share that is to be removed.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// What the budget counts.
    pub fn kind(&self) -> BudgetKind {
        self.kind
    }

    /// The share removed of the reference when group i keeps `keep[i]` channels.
    pub fn achieved(&self, keep: &[usize]) -> Result<f64> {
        let mut removed: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        for (group, &keep) in self.groups.iter().zip(keep) {
            // Which channels go does not matter to the cost where all of them have equally many places, as all do but in groups
            // that a concatenation joins.
            let kept = typical_channels(group, keep);
            for member in &group.members {
                let all: usize = member.positions.iter().map(Vec::len).sum();
                let left: usize = kept.iter().map(|&channel| member.positions[channel].len()).sum();
                *removed.entry((&member.tensor, member.axis)).or_default() += all - left;
            }
        }
        let cut = shrink(&self.declaration, &|tensor, axis| removed.get(&(tensor, axis)).copied().unwrap_or(0))?;
        Ok(1.0 - self.kind.of(&cost(&cut)?) as f64 / self.reference.max(1) as f64)
    }

    /// Finds the strength at which a family of allocations meets the budget.
    ///
    /// `ratios(strength)` gives each group's share to remove for a strength in [0, 1]; it must not fall as the strength grows.
    /// Widths are whole numbers: between the last widths that cost too much and the first that do not, groups change channel by
    /// channel, in turn, until the figure is nearest to what was asked. Frozen groups keep all; every other group keeps at
    /// least one channel.
    ///
    /// # Errors
    /// [`ErrorKind::Budget`] if even strength 1 does not reach the budget; the message says what is reachable.
    pub fn solve(&self, ratios: &dyn Fn(f64) -> Vec<f64>) -> Result<Solution> {
        let whole: Vec<usize> = self.groups.iter().map(|group| group.channels).collect();
        if self.achieved(&whole)? >= self.ratio {
            return self.solution(whole);
        }
        let mut above = self.widths(&ratios(0.0));
        let mut below = self.widths(&ratios(1.0));
        let reachable = self.achieved(&below)?;
        if reachable < self.ratio - TOLERANCE {
            return Err(self.unreachable(reachable));
        }
        if self.achieved(&above)? >= self.ratio {
            return self.solution(above);
        }
        let (mut low, mut high) = (0.0, 1.0);
        // Fifty halvings are far finer than any width; the loop ends as soon as the widths agree.
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            let widths = self.widths(&ratios(middle));
            if self.achieved(&widths)? < self.ratio {
                (low, above) = (middle, widths);
            } else {
                (high, below) = (middle, widths);
            }
            if above == below {
                break;
            }
        }
        self.solution(self.between(above, &below)?)
    }

    fn widths(&self, ratios: &[f64]) -> Vec<usize> {
        let width = |(group, ratio): (&ChannelGroup, &f64)| match group.frozen {
            Some(_) => group.channels,
            None => {
                let kept = group.channels as f64 * (1.0 - ratio.clamp(0.0, 1.0));
                (kept.round() as usize).clamp(1, group.channels)
            }
        };
        self.groups.iter().zip(ratios).map(width).collect()
    }

    /// Walks from `above` to `below`, one channel of one group at a time and the groups in turn, and stops where the figure is nearest.
    fn between(&self, above: Vec<usize>, below: &[usize]) -> Result<Vec<usize>> {
        let mut best = (above.clone(), (self.achieved(&above)? - self.ratio).abs());
        let mut widths = above;
        loop {
            let mut moved = false;
            for at in 0..widths.len() {
                if widths[at] <= below[at] {
                    continue;
                }
                widths[at] -= 1;
                moved = true;
                let achieved = self.achieved(&widths)?;
                let distance = (achieved - self.ratio).abs();
                if distance < best.1 {
                    best = (widths.clone(), distance);
                }
                if achieved >= self.ratio {
                    return self.without_overshoot(widths, best);
                }
            }
            if !moved {
                return Ok(best.0);
            }
        }
    }

    /// The last channel may have been one of a large group: tries it back in and another group's channel in its place.
    fn without_overshoot(&self, widths: Vec<usize>, mut best: (Vec<usize>, f64)) -> Result<Vec<usize>> {
        if best.1 <= TOLERANCE / 2.0 {
            return Ok(best.0);
        }
        for back in 0..widths.len() {
            for other in (0..widths.len()).filter(|&other| other != back) {
                let mut tried = widths.clone();
                let group = |at: usize| (&self.groups[at], self.groups[at].frozen.is_none());
                let ((grown, free_back), (_, free_other)) = (group(back), group(other));
                if !free_back || !free_other || tried[back] >= grown.channels || tried[other] <= 1 {
                    continue;
                }
                tried[back] += 1;
                for _ in 0..2 {
                    let distance = (self.achieved(&tried)? - self.ratio).abs();
                    if distance < best.1 {
                        best = (tried.clone(), distance);
                    }
                    tried[other] -= usize::from(tried[other] > 1);
                }
            }
        }
        Ok(best.0)
    }

    fn solution(&self, keep: Vec<usize>) -> Result<Solution> {
        let achieved = self.achieved(&keep)?;
        let shortfall = ((achieved - self.ratio).abs() > TOLERANCE).then(|| {
            format!(
                "{:.1} % of the {} were to go, {:.1} % is the nearest that whole channels allow",
                100.0 * self.ratio,
                self.kind.name(),
                100.0 * achieved
            )
        });
        Ok(Solution { keep, achieved, shortfall })
    }

    fn unreachable(&self, reachable: f64) -> Error {
        let (asked, most, what) = (100.0 * self.ratio, 100.0 * reachable, self.kind.name());
        let message = format!("the budget asks to remove {asked:.1} % of the {what}, at most {most:.1} % can go");
        Error::new(ErrorKind::Budget, message)
            .hint("ask for less, or let the allocation take more of each group (its max_ratio)")
    }
}
