//! The network before any pruning, which ratios and constraints refer to in every round.

use mrpf_api::Result;
use mrpf_api::budget::{BudgetKind, BudgetProblem, Limits};
use mrpf_api::coupling::{ChannelGroup, Cost, channel_groups, cost};
use mrpf_api::network::Declaration;

use crate::experiment::PruneSettings;

/// What ratios and constraints refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Cost of the network.
    pub cost: Cost,
    /// The widths that its groups may come to.
    pub limits: Limits,
}

impl Dense {
    /// The network before any pruning, with the constraints of `settings`.
    ///
    /// # Errors
    /// As [`mrpf_api::budget::Constraints::limits`]: a pattern that no layer matches, a group that no width is allowed for.
    pub fn new(declaration: &Declaration, settings: &PruneSettings) -> Result<Self> {
        let limits = settings.constraints.limits(declaration, &channel_groups(declaration)?);
        let limits = limits.map_err(|error| error.context("setting `prune.constraints`"))?;
        Ok(Self { cost: cost(declaration)?, limits })
    }

    /// The problem of removing the share `ratio` of the dense network's figure from what is left of it.
    ///
    /// # Errors
    /// As [`BudgetProblem::new`].
    pub fn problem(
        &self,
        declaration: &Declaration,
        groups: &[ChannelGroup],
        kind: BudgetKind,
        ratio: f64,
    ) -> Result<BudgetProblem> {
        Ok(BudgetProblem::new(declaration, groups, kind, &self.cost, ratio)?.within(&self.limits))
    }

    /// The share of the dense network's figure that is gone in `declaration`, counted on it.
    pub fn achieved(&self, declaration: &Declaration, kind: BudgetKind) -> Result<f64> {
        Ok(1.0 - kind.of(&cost(declaration)?) as f64 / kind.of(&self.cost).max(1) as f64)
    }
}
