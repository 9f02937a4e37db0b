//! A network as plain data: a list of layers in the order they run, each naming the layers it reads.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::data::ImageShape;
use crate::numeric::{ConvGeometry, PoolGeometry};
use crate::{Error, ErrorKind, Result};

/// The name by which layers read the network's input images.
pub const INPUT: &str = "input";

/// A network: everything that the forward pass, the channel groups, the cost, the masks, the surgery and the saved file need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The architecture plugin that declared it, for example `resnet`.
    pub architecture: String,
    /// Shape of the images it takes.
    pub input: ImageShape,
    /// Number of classes, the width of the logits.
    pub classes: usize,
    /// The layers in topological order; the last one gives the logits `[batch, class]`.
    pub layers: Vec<Layer>,
}

/// One layer: a name, what it computes, and what it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Unique name; parameters are called `<name>.weight`, `<name>.bias`.
    pub name: String,
    /// What it computes.
    #[serde(flatten)]
    pub kind: LayerKind,
    /// Names of earlier layers, or [`INPUT`].
    pub inputs: Vec<String>,
}

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
    /// `y = x W^T + b` on `[batch, feature]`.
    Linear(Linear),
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

/// Shape of what a layer gives, without the batch axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[channel, height, width]`.
    Map(ImageShape),
    /// `[feature]`.
    Vector(usize),
}

impl Shape {
    /// Length of the axis after the batch: channels of a map, features of a vector.
    pub fn channels(&self) -> usize {
        match self {
            Self::Map(shape) => shape.channels,
            Self::Vector(features) => *features,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Map(ImageShape { channels, height, width }) => write!(f, "[{channels}, {height}, {width}]"),
            Self::Vector(features) => write!(f, "[{features}]"),
        }
    }
}

/// Layers by name with the positions of their inputs, and the shape of every layer's output: a checked declaration.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// For each layer, what it reads: `None` is the network's input, `Some(i)` is layer `i`.
    pub inputs: Vec<Vec<Option<usize>>>,
    /// Shape of each layer's output.
    pub shapes: Vec<Shape>,
    /// For each layer, the last layer that reads it (itself for the output).
    pub last_use: Vec<usize>,
}

impl Declaration {
    /// The layer with that name.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] with the nearest known names.
    pub fn layer(&self, name: &str) -> Result<&Layer> {
        let found = self.layers.iter().find(|layer| layer.name == name);
        found.ok_or_else(|| Error::unknown_name("layer", name, self.layers.iter().map(|layer| layer.name.as_str())))
    }

    /// The layers with a convolution or linear weight, in forward order: the modules whose sensitivity is measured.
    pub fn modules(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Conv2d(_) | LayerKind::Linear(_)))
    }

    /// Checks the whole declaration and resolves names to positions and shapes.
    ///
    /// # Errors
    /// [`ErrorKind::Declaration`] naming the first layer that does not fit and why.
    pub fn wiring(&self) -> Result<Wiring> {
        let wiring = self.partial_wiring()?;
        match wiring.shapes.last() {
            Some(Shape::Vector(features)) if *features == self.classes => Ok(wiring),
            Some(shape) => {
                let message = format!("the last layer gives {shape}, expected the logits [{}]", self.classes);
                Err(Error::new(ErrorKind::Declaration, message))
            }
            None => Err(Error::new(ErrorKind::Declaration, "the network has no layers")),
        }
    }

    /// Shape of each layer's output in a declaration whose last layer need not be the logits yet.
    pub(super) fn shapes(&self) -> Result<Vec<Shape>> {
        Ok(self.partial_wiring()?.shapes)
    }

    fn partial_wiring(&self) -> Result<Wiring> {
        let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
        let mut wiring = Wiring { inputs: Vec::new(), shapes: Vec::new(), last_use: Vec::new() };
        for (at, layer) in self.layers.iter().enumerate() {
            let wrong =
                |why: String| Error::new(ErrorKind::Declaration, why).context(format!("layer `{}`", layer.name));
            let mut inputs = Vec::with_capacity(layer.inputs.len());
            for name in &layer.inputs {
                inputs.push(match name.as_str() {
                    INPUT => None,
                    name => Some(
                        *positions
                            .get(name)
                            .ok_or_else(|| wrong(format!("reads `{name}`, which no earlier layer has")))?,
                    ),
                });
            }
            let shapes: Vec<Shape> =
                inputs.iter().map(|input| input.map_or(Shape::Map(self.input), |i| wiring.shapes[i])).collect();
            wiring.shapes.push(
                layer.kind.output_shape(&shapes).map_err(|error| error.context(format!("layer `{}`", layer.name)))?,
            );
            wiring.last_use.push(at);
            inputs.iter().flatten().for_each(|&input| wiring.last_use[input] = at);
            wiring.inputs.push(inputs);
            if layer.name == INPUT || positions.insert(&layer.name, at).is_some() {
                return Err(wrong("the name is used twice".into()));
            }
        }
        Ok(wiring)
    }
}

impl LayerKind {
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
        }
    }

    /// Shape of the output for inputs of the given shapes.
    pub(super) fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let wrong = |why: String| Err(Error::new(ErrorKind::Declaration, why));
        let several = matches!(self, Self::Add | Self::Concat);
        if inputs.is_empty() || (inputs.len() > 1 && !several) {
            let expected = if several { "at least one" } else { "one" };
            return wrong(format!("{} inputs, expected {expected}", inputs.len()));
        }
        let first = inputs[0];
        let channels_fit = |expected: usize| match first.channels() == expected {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Declaration, format!("reads {first}, expected {expected} channels"))),
        };
        match (self, first) {
            (Self::Normalize { mean, std }, Shape::Map(_)) => {
                channels_fit(mean.len())?;
                channels_fit(std.len())?;
                match std.iter().all(|&value| value > 0.0) {
                    true => Ok(first),
                    false => wrong("a standard deviation is not positive".into()),
                }
            }
            (Self::Conv2d(conv), Shape::Map(map)) => {
                channels_fit(conv.in_channels)?;
                let (height, width) =
                    conv.geometry.output_size(conv.in_channels, conv.out_channels, map.height, map.width)?;
                Ok(Shape::Map(ImageShape { channels: conv.out_channels, height, width }))
            }
            (Self::BatchNorm(norm), Shape::Map(_)) => channels_fit(norm.channels).map(|()| first),
            (Self::Linear(linear), Shape::Vector(_)) => {
                channels_fit(linear.in_features).map(|()| Shape::Vector(linear.out_features))
            }
            (Self::Relu | Self::Relu6 | Self::Silu | Self::Gelu, _) => Ok(first),
            (Self::MaxPool(pool) | Self::AvgPool(pool), Shape::Map(map)) => {
                let (height, width) = pool.output_size(map.height, map.width)?;
                Ok(Shape::Map(ImageShape { height, width, ..map }))
            }
            (Self::GlobalAvgPool, Shape::Map(map)) => Ok(Shape::Vector(map.channels)),
            (Self::Flatten, Shape::Map(map)) => Ok(Shape::Vector(map.len())),
            (Self::Add, _) => match inputs.iter().find(|&&shape| shape != first) {
                None => Ok(first),
                Some(other) => wrong(format!("adds {other} to {first}")),
            },
            (Self::Concat, _) => {
                let channels = inputs.iter().map(Shape::channels).sum();
                let joined = inputs.iter().try_fold((), |(), shape| match (shape, first) {
                    (Shape::Map(a), Shape::Map(b)) if (a.height, a.width) == (b.height, b.width) => Some(()),
                    (Shape::Vector(_), Shape::Vector(_)) => Some(()),
                    _ => None,
                });
                match (joined, first) {
                    (None, _) => wrong("joins maps of different sizes".into()),
                    (Some(()), Shape::Map(map)) => Ok(Shape::Map(ImageShape { channels, ..map })),
                    (Some(()), Shape::Vector(_)) => Ok(Shape::Vector(channels)),
                }
            }
            (Self::PadShortcut { stride, channels }, Shape::Map(map)) => {
                if *stride == 0 || *channels < map.channels {
                    return wrong(format!("stride {stride} and {channels} channels for an input of {first}"));
                }
                let (height, width) = (map.height.div_ceil(*stride), map.width.div_ceil(*stride));
                Ok(Shape::Map(ImageShape { channels: *channels, height, width }))
            }
            (kind, shape) => wrong(format!("a {} layer cannot read {shape}", kind.name())),
        }
    }
}
