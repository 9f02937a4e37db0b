//! Layer after layer to steps: which layers a step takes in.

use super::{Activation, IMAGES, PlaceMap, PlanFor, Sizes, Smooth, Step, StepKind, Value};
use crate::network::{Conv2d, Declaration, LayerKind, Shape, Wiring};

/// A plan under way.
pub(super) struct Builder<'a> {
    declaration: &'a Declaration,
    wiring: &'a Wiring,
    engine: PlanFor,
    pub steps: Vec<Step>,
    pub sizes: Vec<Sizes>,
    /// The value that each layer's output is.
    pub values: Vec<Value>,
    /// How many times each layer is read.
    readers: Vec<usize>,
    /// Entries of all maps of places so far, at most.
    entries: usize,
}

/// Maps of places are kept as long as the network: those of larger images are too much memory, and the operations need none.
const MOST_ENTRIES: usize = 1 << 22;

impl<'a> Builder<'a> {
    pub fn new(declaration: &'a Declaration, wiring: &'a Wiring, engine: PlanFor) -> Self {
        let input = declaration.input;
        let mut readers = vec![0; declaration.layers.len()];
        wiring.inputs.iter().flatten().flatten().for_each(|&layer| readers[layer] += 1);
        let images = Sizes { height: input.height, width: input.width, channels: input.channels };
        Self {
            declaration,
            wiring,
            engine,
            steps: Vec::new(),
            sizes: vec![images],
            values: Vec::new(),
            readers,
            entries: 0,
        }
    }

    /// Adds a layer; none if it is not known.
    pub fn add(&mut self, at: usize) -> Option<()> {
        let layer = &self.declaration.layers[at];
        let mut inputs: Vec<Value> =
            self.wiring.inputs[at].iter().map(|input| input.map_or(IMAGES, |layer| self.values[layer])).collect();
        if inputs.len() > 1 && inputs.contains(&IMAGES) {
            return None;
        }
        if inputs[0] == IMAGES && !matches!(layer.kind, LayerKind::Normalize { .. }) {
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
        let is_gpu = self.engine == PlanFor::Gpu;
        let sizes = match self.wiring.shapes[at] {
            Shape::Map(map) => Sizes { height: map.height, width: map.width, channels: map.channels },
            Shape::Vector(features) => Sizes { height: 1, width: 1, channels: features },
            Shape::Tokens(of) => Sizes { height: of.sequences, width: of.tokens, channels: of.channels },
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
            LayerKind::Conv2d(conv) if has_one_filter_for_each_channel(conv) => {
                self.push(at, StepKind::Depthwise, input, sizes)
            }
            LayerKind::BatchNorm(_) => self.push(at, StepKind::BatchNorm, input, sizes),
            LayerKind::Relu => self.activate(at, Activation::Relu, input, sizes),
            LayerKind::Relu6 => self.activate(at, Activation::Relu6, input, sizes),
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
            LayerKind::Flatten => self.push(at, StepKind::Flatten, input, sizes),
            // On a GPU the logits are computed in f32 whatever the values are in.
            LayerKind::Linear(_) if is_gpu && at + 1 < self.declaration.layers.len() || sizes.pixels() > 1 => {
                self.push(at, StepKind::Convolution, input, sizes)
            }
            LayerKind::Linear(_) => self.push(at, StepKind::Linear, input, sizes),
            LayerKind::Concat => {
                let value = self.push(at, StepKind::Concat, input, sizes);
                self.steps[value - 1].more = inputs[1..].to_vec();
                value
            }
            LayerKind::Silu => self.push(at, StepKind::Smooth(Smooth::Silu), input, sizes),
            LayerKind::Gelu => self.push(at, StepKind::Smooth(Smooth::Gelu), input, sizes),
            LayerKind::LayerNorm(_) => self.push(at, StepKind::LayerNorm, input, sizes),
            LayerKind::Attention(attention) => {
                let value = self.push(at, StepKind::Attention(attention.clone()), input, sizes);
                self.steps[value - 1].more = inputs[1..].to_vec();
                value
            }
            kind => {
                self.entries = self.entries.saturating_add(PlaceMap::most_entries(kind, sizes));
                if self.entries > MOST_ENTRIES {
                    return None;
                }
                let there = PlaceMap::of(kind, self.sizes[input], sizes)?;
                let back = there.transposed(self.sizes[input].pixels());
                self.push(at, StepKind::Places { there, back }, input, sizes)
            }
        };
        self.values.push(value);
        Some(())
    }

    /// Ends the step before layer `at` with an activation, or makes one that does nothing else.
    fn activate(&mut self, at: usize, activation: Activation, input: Value, sizes: Sizes) -> Value {
        let value = if self.goes_on(at, 0).is_some() { input } else { self.push(at, StepKind::Pass, input, sizes) };
        self.steps[value - 1].activation = activation;
        value
    }

    fn push(&mut self, layer: usize, kind: StepKind, input: Value, sizes: Sizes) -> Value {
        self.steps.push(Step { kind, layer, input, more: Vec::new(), other: None, activation: Activation::None });
        self.sizes.push(sizes);
        self.steps.len()
    }

    /// Whether the step that makes layer `at`'s `operand` can go on with the layer itself: nothing else reads what it makes.
    fn goes_on(&self, at: usize, operand: usize) -> Option<&Step> {
        let layer = self.wiring.inputs[at][operand]?;
        let step = self.values[layer].checked_sub(1).map(|step| &self.steps[step])?;
        let is_open =
            matches!(step.kind, StepKind::Convolution | StepKind::Depthwise | StepKind::BatchNorm | StepKind::Pass)
                && step.activation == Activation::None;
        (is_open && self.readers[layer] == 1).then_some(step)
    }

    fn is_read_once(&self, at: usize) -> bool {
        self.wiring.inputs[at][0].is_some_and(|layer| self.readers[layer] == 1)
    }
}

fn has_one_filter_for_each_channel(conv: &Conv2d) -> bool {
    conv.is_depthwise() && conv.out_channels == conv.in_channels
}
