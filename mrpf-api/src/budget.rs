//! Budgets: what the pruned network may cost, and how a family of allocations is solved for it.

mod constraints;
mod kind;
mod latency;
mod search;

use crate::coupling::{ChannelGroup, Cost, CostByWidth, fewest_channels};
use crate::network::Declaration;
use crate::{Error, ErrorKind, Result};

pub use constraints::{Constraints, Limits};
pub use kind::BudgetKind;
pub use latency::{LatencyTable, LayerTimes, widths};

/// How far the achieved ratio may be from the asked one before it is said.
pub const TOLERANCE: f64 = 0.01;

/// A budget to be met by choosing how many channels each group keeps.
#[derive(Debug, Clone)]
pub struct BudgetProblem {
    declaration: Declaration,
    groups: Vec<ChannelGroup>,
    /// Of each group: the widths that it may have, ascending.
    allowed: Vec<Vec<usize>>,
    fewest: Vec<usize>,
    constrained: bool,
    costs: CostByWidth,
    kind: BudgetKind,
    /// Where the budget is a latency: the table, and the position in it of each layer that costs something.
    table: Option<(LatencyTable, Vec<Option<usize>>)>,
    reference: f64,
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
        let reference = kind.of(reference).ok_or_else(|| {
            let message = "a latency budget needs a table of layer times";
            Error::new(ErrorKind::Settings, message).hint("make the problem by `BudgetProblem::timed`")
        })?;
        Self::unsolved(declaration, groups, kind, reference.max(1) as f64, ratio)
    }

    /// A problem on `declaration`: remove the share `ratio` in [0, 1) of the time that the network of the table takes.
    ///
    /// # Errors
    /// As [`BudgetProblem::new`].
    pub fn timed(declaration: &Declaration, groups: &[ChannelGroup], table: &LatencyTable, ratio: f64) -> Result<Self> {
        let problem = Self::unsolved(declaration, groups, BudgetKind::Latency, table.network_ms, ratio)?;
        let places = problem.costs.names().map(|layer| table.place(layer)).collect();
        Ok(Self { table: Some((table.clone(), places)), ..problem })
    }

    fn unsolved(
        declaration: &Declaration,
        groups: &[ChannelGroup],
        kind: BudgetKind,
        reference: f64,
        ratio: f64,
    ) -> Result<Self> {
        if !(0.0..1.0).contains(&ratio) {
            let message = format!("pruning ratio {ratio}, expected the share to remove: at least 0 and below 1");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let costs = CostByWidth::new(declaration, groups)?;
        let fewest = fewest_channels(declaration, groups);
        let allowed = groups.iter().zip(&fewest).map(|(group, &fewest)| (fewest..=group.channels).collect()).collect();
        let (declaration, groups) = (declaration.clone(), groups.to_vec());
        Ok(Self {
            declaration,
            groups,
            allowed,
            fewest,
            constrained: false,
            costs,
            kind,
            table: None,
            reference,
            ratio,
        })
    }

    /// The network as it is before the step; for allocations that decide by the shapes of layers.
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// The same with no widths but those that `limits` allow, see [`Constraints::limits`].
    #[must_use]
    pub fn within(mut self, limits: &Limits) -> Self {
        self.constrained = limits.constrained();
        self.allowed =
            self.groups.iter().zip(&self.fewest).map(|(group, &fewest)| limits.allowed(group, fewest)).collect();
        self
    }

    /// The groups, frozen ones included.
    pub fn groups(&self) -> &[ChannelGroup] {
        &self.groups
    }

    /// The widths that each group may have, ascending and never none: one for a group that must stay as it is.
    pub fn allowed(&self) -> &[Vec<usize>] {
        &self.allowed
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

    /// Checks that every group keeps a number of channels that it may have.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] naming the first group that does not.
    pub fn check(&self, keep: &[usize]) -> Result<()> {
        self.one_for_each_group("keep counts", keep.len())?;
        for ((group, allowed), &keep) in self.groups.iter().zip(&self.allowed).zip(keep) {
            if allowed.binary_search(&keep).is_err() {
                let (least, most) = (allowed[0], allowed[allowed.len() - 1]);
                let which = if allowed.len() == 1 + most - least { "" } else { ", not every number between" };
                let message = format!(
                    "keeps {keep} of the {} channels of group `{}`, expected {least} to {most}{which}",
                    group.channels, group.name
                );
                return Err(Error::new(ErrorKind::Plugin, message));
            }
        }
        Ok(())
    }

    /// Finds the strength at which a family of allocations meets the budget.
    ///
    /// `ratios(strength)` gives each group's share to remove for a strength in [0, 1]; it must not fall as the strength grows.
    /// Widths are whole numbers: between the last widths that cost too much and the first that do not, groups change from one allowed
    /// width to the next, in turn, until the figure is nearest to what was asked. Where that is still coarse, groups exchange single
    /// steps, one beyond those widths and never beyond what strengths 0 and 1 leave. Frozen groups keep all; every other group has one
    /// of its [`BudgetProblem::allowed`] widths. If the network is small enough as it is, every group keeps all that it may.
    ///
    /// # Errors
    /// [`ErrorKind::Budget`] if even strength 1 does not reach the budget; the message says what is reachable.
    /// [`ErrorKind::Plugin`] if the family does not give one finite number for each group.
    pub fn solve(&self, ratios: &dyn Fn(f64) -> Vec<f64>) -> Result<Solution> {
        let most: Vec<usize> = self.allowed.iter().map(|allowed| allowed[allowed.len() - 1]).collect();
        if self.share_removed(&most) >= self.ratio {
            let whole = most.iter().zip(&self.groups).all(|(&most, group)| most == group.channels);
            let why = if whole { "had gone before" } else { "is the least that the constraints take" };
            return Ok(self.solution(most, why));
        }
        let (widest, narrowest) = (self.widths(&ratios(0.0))?, self.widths(&ratios(1.0))?);
        let reachable = self.share_removed(&narrowest);
        if reachable < self.ratio - TOLERANCE {
            return Err(self.unreachable(reachable));
        }
        if self.share_removed(&widest) >= self.ratio {
            return Ok(self.solution(widest, "is the least that the allocation takes"));
        }
        let mut ends = (widest.clone(), narrowest.clone());
        let (mut low, mut high) = (0.0, 1.0);
        // Fifty halvings are far finer than any width.
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            let widths = self.widths(&ratios(middle))?;
            if self.share_removed(&widths) < self.ratio {
                (low, ends.0) = (middle, widths);
            } else {
                (high, ends.1) = (middle, widths);
            }
        }
        let nearest = self.nearest(&ends, &widest, &narrowest);
        let why = match self.constrained {
            false => "is the nearest that whole channels allow",
            true => "is the nearest that was found within the constraints",
        };
        Ok(self.solution(nearest, why))
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
        let figure = match &self.table {
            Some((table, places)) => table.total(places.iter().copied().zip(self.costs.layers(keep))),
            None => self.kind.of(&self.costs.cost(keep)).unwrap_or(0) as f64,
        };
        1.0 - figure / self.reference
    }

    fn distance(&self, keep: &[usize]) -> f64 {
        (self.share_removed(keep) - self.ratio).abs()
    }

    fn widths(&self, ratios: &[f64]) -> Result<Vec<usize>> {
        self.one_for_each_group("ratios", ratios.len())?;
        let mut widths = Vec::with_capacity(ratios.len());
        for ((group, allowed), ratio) in self.groups.iter().zip(&self.allowed).zip(ratios) {
            if !ratio.is_finite() {
                let message = format!("ratio {ratio} for group `{}`, expected a share from 0 to 1", group.name);
                return Err(Error::new(ErrorKind::Plugin, message));
            }
            let kept = group.channels as f64 * (1.0 - ratio.clamp(0.0, 1.0));
            widths.push(search::nearest_width(allowed, kept));
        }
        Ok(widths)
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
        let hint = "ask for less, or let the allocation take more of each group (its max_ratio)";
        let more = if self.constrained { ", or loosen the constraints" } else { "" };
        Error::new(ErrorKind::Budget, message).hint(format!("{hint}{more}"))
    }
}

#[cfg(test)]
mod tests;
