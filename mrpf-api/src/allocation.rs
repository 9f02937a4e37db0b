//! Allocations: how much of each group goes.

use crate::Result;
use crate::budget::{BudgetProblem, Solution};

/// What an allocation decides from. All lists are in the order of `problem.groups()`.
#[derive(Debug, Clone)]
pub struct AllocationRequest<'a> {
    /// The groups, the budget, and the solver.
    pub problem: &'a BudgetProblem,
    /// Sensitivity of each group, combined from its modules; `None` for groups without a module, or when none was measured.
    pub sensitivities: &'a [Option<f64>],
    /// Score of each channel of each group.
    pub scores: &'a [Vec<f64>],
}

/// Turns sensitivities, scores and a budget into the share of each group that goes.
pub trait Allocation: Send {
    /// Whether it needs sensitivities; without them the host does not measure any.
    fn needs_sensitivity(&self) -> bool {
        false
    }

    /// Whether scores decide how many channels of a group go, and not only which; a forecast without scores then says so.
    fn needs_scores(&self) -> bool {
        true
    }

    /// How many channels each group keeps.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Budget`] if the budget cannot be met, saying what is reachable.
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution>;
}
