//! Budgets: what the pruned network may cost, and how a family of allocations is solved for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coupling::{ChannelGroup, Cost, CostByWidth, fewest_channels};
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
    fewest: Vec<usize>,
    costs: CostByWidth,
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
    /// [`ErrorKind::Settings`] if the ratio is outside [0, 1), [`ErrorKind::Declaration`] if the declaration contradicts itself.
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
        let (reference, costs) = (kind.of(reference), CostByWidth::new(declaration, groups)?);
        let fewest = fewest_channels(declaration, groups);
        let (declaration, groups) = (declaration.clone(), groups.to_vec());
        Ok(Self { declaration, groups, fewest, costs, kind, reference, ratio })
    }

    /// The network as it is before the step; for allocations that decide by the shapes of layers.
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
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
    ///
    /// In a group that a concatenation joins, channels of different producers cost differently: there every producer is taken to
    /// give its share. Counts outside 1 to the number of channels are taken as the nearest of these.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] if there are not as many counts as groups.
    pub fn achieved(&self, keep: &[usize]) -> Result<f64> {
        self.one_for_each_group("keep counts", keep.len())?;
        Ok(self.share_removed(keep))
    }

    /// Finds the strength at which a family of allocations meets the budget.
    ///
    /// `ratios(strength)` gives each group's share to remove for a strength in [0, 1]; it must not fall as the strength grows.
    /// Widths are whole numbers: between the last widths that cost too much and the first that do not, groups change channel by
    /// channel, in turn, until the figure is nearest to what was asked. Where that is still coarse, groups exchange single
    /// channels, one beyond those widths and never beyond what strengths 0 and 1 leave. Frozen groups keep all; every other group keeps what
    /// [`fewest_channels`] says at least. If the network is small enough as it is, every group keeps all.
    ///
    /// # Errors
    /// [`ErrorKind::Budget`] if even strength 1 does not reach the budget; the message says what is reachable.
    /// [`ErrorKind::Plugin`] if the family does not give one finite number for each group.
    pub fn solve(&self, ratios: &dyn Fn(f64) -> Vec<f64>) -> Result<Solution> {
        let whole: Vec<usize> = self.groups.iter().map(|group| group.channels).collect();
        if self.share_removed(&whole) >= self.ratio {
            return Ok(self.solution(whole, "had gone before"));
        }
        let (widest, narrowest) = (self.widths(&ratios(0.0))?, self.widths(&ratios(1.0))?);
        let reachable = self.share_removed(&narrowest);
        if reachable < self.ratio - TOLERANCE {
            return Err(self.unreachable(reachable));
        }
        if self.share_removed(&widest) >= self.ratio {
            return Ok(self.solution(widest, "is the least that the allocation takes"));
        }
        let (mut above, mut below) = (widest.clone(), narrowest.clone());
        let (mut low, mut high) = (0.0, 1.0);
        // Fifty halvings are far finer than any width.
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            let widths = self.widths(&ratios(middle))?;
            if self.share_removed(&widths) < self.ratio {
                (low, above) = (middle, widths);
            } else {
                (high, below) = (middle, widths);
            }
        }
        let nearest = self.between(above.clone(), &below);
        // One channel beyond the widths of the family at most, so that its shares stay recognisable.
        let fewest: Vec<usize> =
            below.iter().zip(&narrowest).map(|(&at, &end)| at.saturating_sub(1).max(end)).collect();
        let most: Vec<usize> = above.iter().zip(&widest).map(|(&at, &end)| (at + 1).min(end)).collect();
        let nearest = self.exchanged(nearest, &fewest, &most);
        Ok(self.solution(nearest, "is the nearest that whole channels allow"))
    }

    fn one_for_each_group(&self, what: &str, found: usize) -> Result<()> {
        match self.groups.len() {
            groups if groups == found => Ok(()),
            groups => {
                Err(Error::new(ErrorKind::Plugin, format!("{found} {what}, expected one for each of {groups} groups")))
            }
        }
    }

    fn share_removed(&self, keep: &[usize]) -> f64 {
        1.0 - self.kind.of(&self.costs.cost(keep)) as f64 / self.reference.max(1) as f64
    }

    fn distance(&self, keep: &[usize]) -> f64 {
        (self.share_removed(keep) - self.ratio).abs()
    }

    fn widths(&self, ratios: &[f64]) -> Result<Vec<usize>> {
        self.one_for_each_group("ratios", ratios.len())?;
        let mut widths = Vec::with_capacity(ratios.len());
        for ((group, &fewest), ratio) in self.groups.iter().zip(&self.fewest).zip(ratios) {
            if !ratio.is_finite() {
                let message = format!("ratio {ratio} for group `{}`, expected a share from 0 to 1", group.name);
                return Err(Error::new(ErrorKind::Plugin, message));
            }
            let kept = group.channels as f64 * (1.0 - ratio.clamp(0.0, 1.0));
            widths.push((kept.round() as usize).clamp(fewest, group.channels));
        }
        Ok(widths)
    }

    /// Walks from `above` to `below`, one channel of one group at a time and the groups in turn, passing over channels that would
    /// remove too much; the nearest widths on the way.
    fn between(&self, mut widths: Vec<usize>, below: &[usize]) -> Vec<usize> {
        let mut best = (self.distance(&widths), widths.clone());
        let mut moved = true;
        while moved {
            moved = false;
            for at in 0..widths.len() {
                if widths[at] <= below[at] {
                    continue;
                }
                widths[at] -= 1;
                let distance = self.distance(&widths);
                if distance < best.0 {
                    best = (distance, widths.clone());
                }
                if self.share_removed(&widths) > self.ratio {
                    widths[at] += 1;
                } else {
                    moved = true;
                }
            }
        }
        best.1
    }

    /// Gives a channel to one group and takes one from another, the best such pair first, until the figure is well within
    /// [`TOLERANCE`] or comes no nearer.
    fn exchanged(&self, widths: Vec<usize>, fewest: &[usize], most: &[usize]) -> Vec<usize> {
        let mut best = (self.distance(&widths), widths);
        while best.0 > TOLERANCE / 2.0 {
            let start = best.1.clone();
            let mut tried = start.clone();
            for wider in (0..start.len()).filter(|&at| start[at] < most[at]) {
                tried[wider] += 1;
                for narrower in (0..start.len()).filter(|&at| at != wider && start[at] > fewest[at]) {
                    tried[narrower] -= 1;
                    let distance = self.distance(&tried);
                    if distance < best.0 {
                        best = (distance, tried.clone());
                    }
                    tried[narrower] += 1;
                }
                tried[wider] -= 1;
            }
            if best.1 == start {
                break;
            }
        }
        best.1
    }

    /// `why` says what the achieved share is, should it be far from the asked one.
    fn solution(&self, keep: Vec<usize>, why: &str) -> Solution {
        let achieved = self.share_removed(&keep);
        let (asked, got, what) = (100.0 * self.ratio, 100.0 * achieved, self.kind.name());
        let shortfall = ((achieved - self.ratio).abs() > TOLERANCE)
            .then(|| format!("{asked:.1} % of the {what} were to go, {got:.1} % {why}"));
        Solution { keep, achieved, shortfall }
    }

    fn unreachable(&self, reachable: f64) -> Error {
        let (asked, most, what) = (100.0 * self.ratio, 100.0 * reachable, self.kind.name());
        let message = format!("the budget asks to remove {asked:.1} % of the {what}, at most {most:.1} % can go");
        Error::new(ErrorKind::Budget, message)
            .hint("ask for less, or let the allocation take more of each group (its max_ratio)")
    }
}

#[cfg(test)]
mod tests;
