//! From a declaration to steps: what is fused, and who reads what when.

use crate::network::{Declaration, LayerKind, Shape, Wiring};
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
    /// Added before the ReLU.
    pub other: Option<Value>,
    /// Whether a ReLU ends the step.
    pub relu: bool,
}

impl Step {
    /// Whether it computes with the weights of its layer.
    pub fn has_weights(&self) -> bool {
        matches!(self.kind, StepKind::Convolution | StepKind::Linear | StepKind::BatchNorm)
    }
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
    Convolution,
    /// A batch norm; after folding, one that no convolution could take in.
    BatchNorm,
    /// Nothing but `other` and ReLU on top of the input.
    Pass,
    /// Largest value of each window.
    MaxPool(PoolGeometry),
    /// Mean over all pixels.
    GlobalAvgPool,
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
    /// The plan of a declaration; `None` if a layer is of a kind that is not known here.
    pub fn new(declaration: &Declaration, wiring: &Wiring) -> Option<Self> {
        let mut builder = Builder::new(declaration, wiring);
        for at in 0..declaration.layers.len() {
            builder.add(at)?;
        }
        // The logits must be the last value: nothing may follow them.
        let output = builder.values[declaration.layers.len() - 1];
        let mut plan = Self { steps: builder.steps, sizes: builder.sizes, readers: Vec::new() };
        let reads = |step: &Step, value: Value| step.input == value || step.other == Some(value);
        for value in 0..output {
            let first = plan.steps.iter().position(|step| reads(step, value))?;
            let last = plan.steps.iter().rposition(|step| reads(step, value))?;
            plan.readers.push([first, last]);
        }
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

struct Builder<'a> {
    declaration: &'a Declaration,
    wiring: &'a Wiring,
    steps: Vec<Step>,
    sizes: Vec<Sizes>,
    /// The value that each layer's output is.
    values: Vec<Value>,
    /// How many times each layer is read.
    readers: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(declaration: &'a Declaration, wiring: &'a Wiring) -> Self {
        let input = declaration.input;
        let mut readers = vec![0; declaration.layers.len()];
        wiring.inputs.iter().flatten().flatten().for_each(|&layer| readers[layer] += 1);
        let images = Sizes { height: input.height, width: input.width, channels: input.channels };
        Self { declaration, wiring, steps: Vec::new(), sizes: vec![images], values: Vec::new(), readers }
    }

    /// Adds a layer; none if it is not known.
    fn add(&mut self, at: usize) -> Option<()> {
        let layer = &self.declaration.layers[at];
        let mut inputs: Vec<Value> =
            self.wiring.inputs[at].iter().map(|input| input.map_or(IMAGES, |layer| self.values[layer])).collect();
        if inputs[0] == IMAGES && !matches!(layer.kind, LayerKind::Normalize { .. }) {
            if inputs.len() > 1 {
                return None;
            }
            // Everything but this step wants the channels last.
            let channels = self.declaration.input.channels;
            inputs[0] = self.push(
                at,
                StepKind::Arrange { factor: vec![1.0; channels], offset: vec![0.0; channels] },
                IMAGES,
                self.sizes[0],
            );
        }
        let input = inputs[0];
        let sizes = match self.wiring.shapes[at] {
            Shape::Map(map) => Sizes { height: map.height, width: map.width, channels: map.channels },
            Shape::Vector(features) => Sizes { height: 1, width: 1, channels: features },
            Shape::Tokens(_) => return None,
        };
        let value = match &layer.kind {
            LayerKind::Normalize { mean, std } => {
                let factor: Vec<f32> = std.iter().map(|std| (1.0 / std) as f32).collect();
                let offset = mean.iter().zip(std).map(|(mean, std)| (-mean / std) as f32).collect();
                let kind = match input {
                    IMAGES => StepKind::Arrange { factor, offset },
                    _ => StepKind::Affine { factor, offset },
                };
                self.push(at, kind, input, sizes)
            }
            LayerKind::Conv2d(conv) if conv.geometry.groups == 1 => self.push(at, StepKind::Convolution, input, sizes),
            LayerKind::BatchNorm(_) => self.push(at, StepKind::BatchNorm, input, sizes),
            LayerKind::Relu => {
                let value =
                    if self.goes_on(at, 0).is_some() { input } else { self.push(at, StepKind::Pass, input, sizes) };
                self.steps[value - 1].relu = true;
                value
            }
            LayerKind::Add if inputs.len() == 2 => {
                let last = usize::from(inputs[1] > inputs[0]);
                let (later, earlier) = (inputs[last], inputs[1 - last]);
                let takes = later != earlier && self.goes_on(at, last).is_some_and(|step| step.other.is_none());
                let value = if takes { later } else { self.push(at, StepKind::Pass, later, sizes) };
                self.steps[value - 1].other = Some(earlier);
                value
            }
            LayerKind::MaxPool(pool) => self.push(at, StepKind::MaxPool(*pool), input, sizes),
            LayerKind::GlobalAvgPool => self.push(at, StepKind::GlobalAvgPool, input, sizes),
            // With one pixel the order of the values is the same.
            LayerKind::Flatten if self.sizes[input].pixels() == 1 && self.is_read_once(at) => input,
            LayerKind::Linear(_) => self.push(at, StepKind::Linear, input, sizes),
            _ => return None,
        };
        self.values.push(value);
        Some(())
    }

    fn push(&mut self, layer: usize, kind: StepKind, input: Value, sizes: Sizes) -> Value {
        self.steps.push(Step { kind, layer, input, other: None, relu: false });
        self.sizes.push(sizes);
        self.steps.len()
    }

    /// Whether the step that makes layer `at`'s `operand` can go on with the layer itself: nothing else reads what it makes.
    fn goes_on(&self, at: usize, operand: usize) -> Option<&Step> {
        let layer = self.wiring.inputs[at][operand]?;
        let step = self.values[layer].checked_sub(1).map(|step| &self.steps[step])?;
        let open = matches!(step.kind, StepKind::Convolution | StepKind::BatchNorm | StepKind::Pass) && !step.relu;
        (open && self.readers[layer] == 1).then_some(step)
    }

    fn is_read_once(&self, at: usize) -> bool {
        self.wiring.inputs[at][0].is_some_and(|layer| self.readers[layer] == 1)
    }
}
