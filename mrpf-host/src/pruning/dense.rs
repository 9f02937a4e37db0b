//! The network before any pruning, which ratios and constraints refer to in every round.

use mrpf_api::budget::{BudgetKind, BudgetProblem, LatencyTable, Limits};
use mrpf_api::coupling::{ChannelGroup, Cost, channel_groups, cost};
use mrpf_api::network::Declaration;
use mrpf_api::{Error, ErrorKind, Result};

use crate::experiment::PruneSettings;

/// What ratios and constraints refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Cost of the network.
    pub cost: Cost,
    /// The widths that its groups may come to.
    pub limits: Limits,
    /// Times of its layers, where they are asked for.
    pub table: Option<LatencyTable>,
}

impl Dense {
    /// The network before any pruning, with the constraints of `settings`.
    ///
    /// # Errors
    /// As [`mrpf_api::budget::Constraints::limits`]: a pattern that no layer matches, a group that no width is allowed for.
    pub fn new(declaration: &Declaration, settings: &PruneSettings) -> Result<Self> {
        let limits = settings.constraints.limits(declaration, &channel_groups(declaration)?);
        let limits = limits.map_err(|error| error.context("setting `prune.constraints`"))?;
        Ok(Self { cost: cost(declaration)?, limits, table: None })
    }

    /// The same with a table of layer times, which a latency budget needs.
    #[must_use]
    pub fn timed(self, table: LatencyTable) -> Self {
        Self { table: Some(table), ..self }
    }

    fn table(&self) -> Result<&LatencyTable> {
        self.table.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Settings, "no layer times are known, which a latency budget needs")
                .hint("measure them by `measure_layer_times`, or name a table of another run by prune.latency_table")
        })
    }

    /// The problem of removing the share `ratio` of the dense network's figure from what is left of it.
    ///
    /// # Errors
    /// As [`BudgetProblem::new`]; [`ErrorKind::Settings`] for a latency budget without a table.
    pub fn problem(
        &self,
        declaration: &Declaration,
        groups: &[ChannelGroup],
        kind: BudgetKind,
        ratio: f64,
    ) -> Result<BudgetProblem> {
        let problem = match kind {
            BudgetKind::Latency => BudgetProblem::timed(declaration, groups, self.table()?, ratio)?,
            counted => BudgetProblem::new(declaration, groups, counted, &self.cost, ratio)?,
        };
        Ok(problem.within(&self.limits))
    }

    /// The share of the dense network's figure that is gone in `declaration`, counted on it; of latency, as the table tells.
    pub fn achieved(&self, declaration: &Declaration, kind: BudgetKind) -> Result<f64> {
        let [left, all] = match (kind.of(&cost(declaration)?), kind.of(&self.cost)) {
            (Some(left), Some(all)) => [left as f64, all.max(1) as f64],
            _ => [self.table()?.network(declaration), self.table()?.network_ms],
        };
        Ok(1.0 - left / all)
    }
}
