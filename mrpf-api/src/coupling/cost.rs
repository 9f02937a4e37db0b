//! Parameters and multiply-accumulates, counted from the declaration.

use serde::{Deserialize, Serialize};
use std::iter::Sum;

use crate::Result;
use crate::network::{Declaration, LayerKind, Shape};

/// What a network costs for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Multiply-accumulates of convolutions and linear layers, and of the two products inside an attention.
    pub macs: u64,
    /// Trainable parameters: weights, biases, and scales and shifts of norms.
    pub params: u64,
    /// Output channels of convolutions and of linear layers other than the classifier.
    pub channels: u64,
    /// Bytes of the tensors that a saved network holds, in f32: parameters and running statistics.
    #[serde(default)]
    pub bytes: u64,
}

/// Bytes of a number in a saved network.
const NUMBER: usize = size_of::<f32>();

/// The cost of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCost {
    /// The layer's name.
    pub layer: String,
    /// Its share.
    pub cost: Cost,
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            macs: sum.macs + cost.macs,
            params: sum.params + cost.params,
            channels: sum.channels + cost.channels,
            bytes: sum.bytes + cost.bytes,
        })
    }
}

/// Cost of the whole network for one image.
pub fn cost(declaration: &Declaration) -> Result<Cost> {
    Ok(layer_costs(declaration)?.into_iter().map(|layer| layer.cost).sum())
}

/// Cost of each layer that has any, in forward order.
pub fn layer_costs(declaration: &Declaration) -> Result<Vec<LayerCost>> {
    let shapes = declaration.wiring()?.shapes;
    let last = declaration.layers.len().saturating_sub(1);
    let costs = declaration.layers.iter().zip(shapes).enumerate().map(|(at, (layer, shape))| LayerCost {
        layer: layer.name.clone(),
        cost: layer_cost(&layer.kind, shape, at == last),
    });
    Ok(costs.filter(|layer| layer.cost != Cost::default()).collect())
}

/// Cost of one layer; of its output's shape, its channels do not count.
pub(super) fn layer_cost(kind: &LayerKind, output: Shape, is_last: bool) -> Cost {
    let bias = |has_bias: bool, outputs: usize| if has_bias { outputs } else { 0 };
    let (macs, params, channels) = match kind {
        LayerKind::Conv2d(conv) => {
            let [height, width] = conv.geometry.kernel;
            let weights = conv.out_channels * (conv.in_channels / conv.geometry.groups.max(1)) * height * width;
            (output.places() * weights, weights + bias(conv.bias, conv.out_channels), conv.out_channels)
        }
        LayerKind::Linear(linear) => {
            let weights = linear.in_features * linear.out_features;
            let channels = if is_last { 0 } else { linear.out_features };
            (output.places() * weights, weights + bias(linear.bias, linear.out_features), channels)
        }
        LayerKind::BatchNorm(norm) => (0, 2 * norm.channels, 0),
        LayerKind::LayerNorm(norm) => (0, 2 * norm.channels, 0),
        LayerKind::Attention(attention) => {
            let tokens = match output {
                Shape::Tokens(shape) => shape.tokens,
                Shape::Map(_) | Shape::Vector(_) => 1,
            };
            // Each token meets every token of its sequence, once by its query and once by the other's value.
            (output.places() * tokens * (attention.query_channels + attention.value_channels), 0, 0)
        }
        _ => (0, 0, 0),
    };
    let statistics = match kind {
        LayerKind::BatchNorm(norm) => 2 * norm.channels,
        _ => 0,
    };
    let bytes = NUMBER * (params + statistics);
    Cost { macs: macs as u64, params: params as u64, channels: channels as u64, bytes: bytes as u64 }
}
