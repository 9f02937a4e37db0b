//! From a declaration to steps: what is fused, and who reads what when.

mod builder;
mod place_map;

use self::builder::Builder;
pub(super) use self::place_map::PlaceMap;
use crate::network::{Attention, Declaration, Wiring};
use crate::numeric::PoolGeometry;

/// Where a value comes from: the images, or a step.
pub(super) type Value = usize;

/// The images stand before all steps.
pub(super) const IMAGES: Value = 0;

/// A value's sizes in each image; a vector is one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Sizes {
    pub fn len(self) -> usize {
        self.height * self.width * self.channels
    }

    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// One step; step `i` makes value `i + 1`.
#[derive(Debug)]
pub(super) struct Step {
    pub kind: StepKind,
    /// The layer that it begins with, whose weights it has.
    pub layer: usize,
    pub input: Value,
    /// What it reads besides: further parts of what is joined.
    pub more: Vec<Value>,
    /// Added before the activation.
    pub other: Option<Value>,
    pub activation: Activation,
}

impl Step {
    /// Whether it computes with the weights of its layer.
    pub fn has_weights(&self) -> bool {
        matches!(
            self.kind,
            StepKind::Convolution | StepKind::Depthwise | StepKind::Linear | StepKind::BatchNorm | StepKind::LayerNorm
        )
    }

    /// Whether a ReLU ends it, with or without a ceiling.
    pub fn has_activation(&self) -> bool {
        self.activation != Activation::None
    }

    /// The largest value that its activation lets through.
    pub fn ceiling(&self) -> Option<f32> {
        (self.activation == Activation::Relu6).then_some(6.0)
    }

    /// What its kind computes with: everything that it reads but `other`.
    pub fn operands(&self) -> impl Iterator<Item = Value> + '_ {
        std::iter::once(self.input).chain(self.more.iter().copied())
    }

    /// Everything that it reads.
    pub fn reads(&self) -> impl Iterator<Item = Value> + '_ {
        self.operands().chain(self.other)
    }
}

/// What ends a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    Relu,
    Relu6,
}

/// Activations without a corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Smooth {
    Silu,
    Gelu,
}

/// Which engine a plan is for: the one on GPUs takes all linear layers but the last for convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanFor {
    Processor,
    Gpu,
}

/// What a step computes.
#[derive(Debug)]
pub(super) enum StepKind {
    /// From `[channel, height, width]` to `[height, width, channel]`, times a factor plus an offset of each channel.
    Arrange {
        factor: Vec<f32>,
        offset: Vec<f32>,
    },
    /// The same factor and offset where the order is right already.
    Affine {
        factor: Vec<f32>,
        offset: Vec<f32>,
    },
    /// Also a linear layer on many places, and one on a vector where the engine computes those as convolutions.
    Convolution,
    /// Every filter reads one channel, its own.
    Depthwise,
    /// A batch norm; after folding, one that no convolution could take in.
    BatchNorm,
    /// Nothing but `other` and the activation on top of the input.
    Pass,
    /// Largest value of each window.
    MaxPool(PoolGeometry),
    /// Mean over all pixels.
    GlobalAvgPool,
    /// Sums of places, the same for each channel.
    Places {
        there: PlaceMap,
        /// From gradients by the output to those by the input.
        back: PlaceMap,
    },
    /// The channels of all operands one after the other.
    Concat,
    /// Channel after channel as one vector.
    Flatten,
    /// An activation that its gradient needs the input of.
    Smooth(Smooth),
    /// Every place by its own mean and variance.
    LayerNorm,
    /// The operands are queries, keys and values; rows of the map are sequences.
    Attention(Attention),
    Linear,
}

/// Steps in order with the sizes of every value.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Of the images first, then of each step's value.
    pub(super) sizes: Vec<Sizes>,
    /// The first and the last step that reads each value.
    readers: Vec<[usize; 2]>,
}

impl Plan {
    /// The plan of a declaration; `None` if a layer is of a kind that the engine does not know.
    pub fn new(declaration: &Declaration, wiring: &Wiring, engine: PlanFor) -> Option<Self> {
        let mut builder = Builder::new(declaration, wiring, engine);
        for at in 0..declaration.layers.len() {
            builder.add(at)?;
        }
        // The logits must be the last value: nothing may follow them.
        let output = builder.values[declaration.layers.len() - 1];
        let mut plan = Self { steps: builder.steps, sizes: builder.sizes, readers: Vec::new() };
        let mut readers: Vec<Option<[usize; 2]>> = vec![None; output];
        for (at, step) in plan.steps.iter().enumerate() {
            for value in step.reads().filter(|&value| value < output) {
                readers[value].get_or_insert([at; 2])[1] = at;
            }
        }
        plan.readers = readers.into_iter().collect::<Option<_>>()?;
        plan.readers.push([output; 2]);
        (output == plan.steps.len()).then_some(plan)
    }

    /// The value that the network's output is.
    pub(super) fn output(&self) -> Value {
        self.steps.len()
    }

    pub(super) fn classes(&self) -> usize {
        self.sizes[self.output()].len()
    }

    /// The first step that reads a value; going back, the last that adds to its gradient.
    pub(super) fn first_reader(&self, value: Value) -> usize {
        self.readers[value][0]
    }

    /// The last step that reads a value.
    pub(super) fn last_reader(&self, value: Value) -> usize {
        self.readers[value][1]
    }
}
