//! Pruning: from a network, sensitivities and a ratio to a plan and a smaller network.

mod allocate;
mod dense;
mod group_sensitivity;
mod rounds;
mod step;

pub use dense::Dense;
pub use group_sensitivity::group_sensitivities;
pub use rounds::{Round, rounds};
pub use step::{GroupRecord, PruneRecord, PruneStep, Pruned, prune_step};
