//! Parameters and multiply-accumulates, counted from the declaration.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::network::{Declaration, LayerKind, Shape, parameter_specs};

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
    let layers = layer_costs(declaration)?;
    Ok(layers.iter().fold(Cost::default(), |sum, LayerCost { cost, .. }| Cost {
        macs: sum.macs + cost.macs,
        params: sum.params + cost.params,
        channels: sum.channels + cost.channels,
    }))
}

/// Cost of each layer that has any, in forward order.
pub fn layer_costs(declaration: &Declaration) -> Result<Vec<LayerCost>> {
    let shapes = declaration.wiring()?.shapes;
    let last = declaration.layers.len().saturating_sub(1);
    let mut specs = parameter_specs(declaration).into_iter().peekable();
    let mut costs = Vec::new();
    for (at, layer) in declaration.layers.iter().enumerate() {
        let mut cost = Cost::default();
        while let Some(spec) = specs.next_if(|spec| spec.layer == layer.name) {
            cost.params += spec.shape.iter().product::<usize>() as u64;
        }
        match (&layer.kind, shapes[at]) {
            (LayerKind::Conv2d(conv), Shape::Map(out)) => {
                let [height, width] = conv.geometry.kernel;
                let window = conv.in_channels / conv.geometry.groups * height * width;
                cost.macs = (out.len() * window) as u64;
                cost.channels = conv.out_channels as u64;
            }
            (LayerKind::Linear(linear), _) => {
                cost.macs = (linear.in_features * linear.out_features) as u64;
                cost.channels = if at == last { 0 } else { linear.out_features as u64 };
            }
            _ => {}
        }
        if cost != Cost::default() {
            costs.push(LayerCost { layer: layer.name.clone(), cost });
        }
    }
    Ok(costs)
}
