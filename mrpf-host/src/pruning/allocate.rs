//! From sensitivities, scores and a budget to how many channels each group keeps.

use mrpf_api::allocation::{Allocation, AllocationRequest};
use mrpf_api::budget::{BudgetProblem, Solution};
use mrpf_api::{Context, Result};

use crate::experiment::PruneSettings;

/// What the allocation of `settings` answers, checked against what the problem allows.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Budget`] if the ratio is out of reach; [`mrpf_api::ErrorKind::Plugin`] if the allocation breaks its contract.
pub(super) fn allocate(
    settings: &PruneSettings,
    problem: &BudgetProblem,
    sensitivities: &[Option<f64>],
    scores: &[Vec<f64>],
) -> Result<Solution> {
    let about = || format!("allocation `{}`", settings.allocation.name);
    let request = AllocationRequest { problem, sensitivities, scores };
    let solution = settings.allocation.make::<dyn Allocation>()?.allocate(&request).context(about)?;
    problem.check(&solution.keep).context(about)?;
    Ok(solution)
}
