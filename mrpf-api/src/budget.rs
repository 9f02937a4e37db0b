//! Budgets: what the pruned network may cost, and how a family of allocations is solved for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::coupling::{ChannelGroup, Cost};
use crate::network::Declaration;

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

/// A budget to be met by choosing how many channels each group keeps.
#[derive(Debug, Clone)]
pub struct BudgetProblem {
    declaration: Declaration,
    groups: Vec<ChannelGroup>,
    kind: BudgetKind,
    /// What ratios refer to; the dense network's figure when pruning goes in rounds.
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
    /// What stands between the asked and the achieved ratio, when they differ by more than one percent.
    pub shortfall: Option<String>,
}

impl BudgetProblem {
    /// A problem on `declaration`: remove the share `ratio` in [0, 1) of `reference` (the cost of the network that ratios refer to).
    pub fn new(
        declaration: &Declaration,
        groups: &[ChannelGroup],
        kind: BudgetKind,
        reference: &Cost,
        ratio: f64,
    ) -> Result<Self> {
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

    /// The share removed of the reference when each group keeps `keep` channels.
    pub fn achieved(&self, keep: &[usize]) -> Result<f64> {
        let _ = (keep, &self.declaration, self.reference);
        Ok(0.0)
    }

    /// Finds the strength at which a family of allocations meets the budget.
    ///
    /// `ratios(strength)` gives each group's share to remove for a strength in [0, 1]; it must not fall as the strength grows.
    /// Widths are whole numbers: where several groups would change at once and the step is too coarse, they change one after
    /// the other, the first group first. Frozen groups keep all; every other group keeps at least one channel.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Budget`] if even strength 1 does not reach the budget; the message says what is reachable.
    pub fn solve(&self, ratios: &dyn Fn(f64) -> Vec<f64>) -> Result<Solution> {
        let _ = ratios;
        let keep: Vec<usize> = self.groups.iter().map(|group| group.channels).collect();
        Ok(Solution { achieved: self.achieved(&keep)?, keep, shortfall: None })
    }
}
