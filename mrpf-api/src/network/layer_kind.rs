//! What layers compute, as plain data.

use serde::{Deserialize, Serialize};

use super::tokens::{Attention, LayerNorm};
use crate::numeric::{ConvGeometry, PoolGeometry};

/// What a layer computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LayerKind {
    /// `(x - mean) / std` per channel; the first layer, so that attacks act on pixels in [0, 1].
    Normalize {
        /// Subtracted from each channel.
        mean: Vec<f64>,
        /// Divides each channel; positive.
        std: Vec<f64>,
    },
    /// Two-dimensional convolution, grouped or depthwise as its geometry says.
    Conv2d(Conv2d),
    /// Batch normalisation over `[batch, height, width]` of each channel, with a learned scale and shift.
    BatchNorm(BatchNorm),
    /// `y = x W^T + b` on `[batch, feature]`, or on each token.
    Linear(Linear),
    /// Normalisation of each token over its channels, with a learned scale and shift.
    LayerNorm(LayerNorm),
    /// `softmax(scale Q K^T) V` in each head and each sequence of tokens; reads queries, keys and values, in that order.
    Attention(Attention),
    /// `max(x, 0)`, with derivative 0 at 0.
    Relu,
    /// `min(max(x, 0), 6)`, with derivative 0 at 0 and at 6.
    Relu6,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * Phi(x)` with the exact Gaussian distribution function.
    Gelu,
    /// Largest value of each window.
    MaxPool(PoolGeometry),
    /// Mean of each window; padding counts as zeros, as in PyTorch's default.
    AvgPool(PoolGeometry),
    /// Mean over height and width, giving `[batch, channel]`.
    GlobalAvgPool,
    /// Sum of all inputs, which have one shape.
    Add,
    /// Inputs one after the other along the channels.
    Concat,
    /// `[batch, channel, height, width]` to `[batch, feature]`, channel after channel.
    Flatten,
    /// The parameter-free shortcut of He et al. 2015 (option A): every `stride`-th pixel, and zero channels after the input's.
    ///
    /// How its added channels couple to others cannot be expressed by removing channels, so it freezes what it touches.
    PadShortcut {
        /// Step between the pixels that are kept.
        stride: usize,
        /// Channels after padding, not below the input's.
        channels: usize,
    },
    /// From a map to tokens (Mehta and Rastegari 2021, section 3.1): the pixels at one place of all patches are one sequence, places and
    /// patches row after row.
    Unfold {
        /// Height and width of a patch; they divide those of the map.
        patch: [usize; 2],
    },
    /// Back from what [`LayerKind::Unfold`] made to a map.
    Fold {
        /// Height and width of a patch.
        patch: [usize; 2],
        /// Height and width of the map.
        size: [usize; 2],
    },
    /// To another height and width by bilinear interpolation between the centres of the pixels, PyTorch's `align_corners=False` without
    /// antialiasing.
    Resize {
        /// Height and width of the output.
        size: [usize; 2],
    },
}

/// A convolution without its weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Filters.
    pub out_channels: usize,
    /// Kernel, stride, padding and groups.
    #[serde(flatten)]
    pub geometry: ConvGeometry,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2d {
    /// Whether each filter reads exactly one input channel.
    pub fn is_depthwise(&self) -> bool {
        self.geometry.groups > 1 && self.geometry.groups == self.in_channels
    }
}

/// A batch normalisation without its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Share of the new value in the running statistics, PyTorch's convention.
    pub momentum: f64,
}

impl BatchNorm {
    /// PyTorch's defaults: epsilon 1e-5, momentum 0.1.
    pub fn new(channels: usize) -> Self {
        Self { channels, epsilon: 1e-5, momentum: 0.1 }
    }
}

/// A fully connected layer without its weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linear {
    /// Width of the input.
    pub in_features: usize,
    /// Width of the output.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl LayerKind {
    /// Taps of each filter, and whether there is a bias; none for layers that are neither convolutions nor linear, which have one tap.
    #[cfg(feature = "cudnn")]
    pub(crate) fn taps_and_bias(&self) -> Option<(usize, bool)> {
        match self {
            Self::Conv2d(conv) => Some((conv.geometry.kernel.iter().product(), conv.bias)),
            Self::Linear(linear) => Some((1, linear.bias)),
            _ => None,
        }
    }

    /// The kind's name as it stands in saved files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Normalize { .. } => "normalize",
            Self::Conv2d(_) => "conv2d",
            Self::BatchNorm(_) => "batch-norm",
            Self::Linear(_) => "linear",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::MaxPool(_) => "max-pool",
            Self::AvgPool(_) => "avg-pool",
            Self::GlobalAvgPool => "global-avg-pool",
            Self::Add => "add",
            Self::Concat => "concat",
            Self::Flatten => "flatten",
            Self::PadShortcut { .. } => "pad-shortcut",
            Self::LayerNorm(_) => "layer-norm",
            Self::Attention(_) => "attention",
            Self::Unfold { .. } => "unfold",
            Self::Fold { .. } => "fold",
            Self::Resize { .. } => "resize",
        }
    }
}
