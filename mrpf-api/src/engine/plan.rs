//! From a declaration to steps: what is fused, and which buffer holds what when.

use super::convolution::Convolution;
use super::direct::Direct;
use crate::Result;
use crate::network::{Declaration, LayerKind, Shape, Weights, Wiring};
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
    pub input: Value,
    /// Added before the ReLU.
    pub other: Option<Value>,
    /// Whether a ReLU ends the step.
    pub relu: bool,
}

/// What a step computes.
#[derive(Debug)]
pub(super) enum StepKind {
    /// From `[channel, height, width]` to `[height, width, channel]`, times a factor plus an offset of each channel.
    Arrange { factor: Vec<f32>, offset: Vec<f32> },
    /// The same factor and offset where the order is right already: a batch norm that no convolution could take in.
    Affine { factor: Vec<f32>, offset: Vec<f32> },
    /// A convolution with its bias.
    Convolution(Box<Convolution>),
    /// Nothing but `other` and ReLU on top of the input.
    Pass,
    /// Largest value of each window.
    MaxPool(PoolGeometry),
    /// Mean over all pixels.
    GlobalAvgPool,
    /// A matrix with its bias.
    Linear { forward: Box<Direct>, backward: Box<Direct>, bias: Option<Vec<f32>> },
}

/// Steps in order with the sizes of every value.
#[derive(Debug)]
pub(super) struct Plan {
    pub steps: Vec<Step>,
    /// Of the images first, then of each step's value.
    pub sizes: Vec<Sizes>,
}

impl Plan {
    /// The plan of a declaration in f32; `None` if a layer is of a kind that the engine does not know.
    pub fn new(
        declaration: &Declaration,
        wiring: &Wiring,
        weights: &Weights,
        statistics: &Weights,
    ) -> Result<Option<Self>> {
        let mut builder = Builder::new(declaration, wiring, weights, statistics);
        for at in 0..declaration.layers.len() {
            if !builder.add(at)? {
                return Ok(None);
            }
        }
        // The logits must be the last value: nothing may follow them.
        let output = builder.values[declaration.layers.len() - 1];
        let plan = Self { steps: builder.steps, sizes: builder.sizes };
        let is_read = |value: Value| plan.steps.iter().any(|step| step.input == value || step.other == Some(value));
        let complete = output == plan.steps.len() && (1..output).all(is_read);
        Ok(complete.then_some(plan))
    }
}

struct Builder<'a> {
    declaration: &'a Declaration,
    wiring: &'a Wiring,
    weights: &'a Weights,
    statistics: &'a Weights,
    steps: Vec<Step>,
    sizes: Vec<Sizes>,
    /// The value that each layer's output is.
    values: Vec<Value>,
    /// How many times each layer is read.
    readers: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(declaration: &'a Declaration, wiring: &'a Wiring, weights: &'a Weights, statistics: &'a Weights) -> Self {
        let input = declaration.input;
        let mut readers = vec![0; declaration.layers.len()];
        wiring.inputs.iter().flatten().flatten().for_each(|&layer| readers[layer] += 1);
        let images = Sizes { height: input.height, width: input.width, channels: input.channels };
        Self {
            declaration,
            wiring,
            weights,
            statistics,
            steps: Vec::new(),
            sizes: vec![images],
            values: Vec::new(),
            readers,
        }
    }

    /// Adds a layer; whether it is known.
    fn add(&mut self, at: usize) -> Result<bool> {
        let layer = &self.declaration.layers[at];
        let mut inputs: Vec<Value> =
            self.wiring.inputs[at].iter().map(|input| input.map_or(IMAGES, |layer| self.values[layer])).collect();
        if inputs[0] == IMAGES && !matches!(layer.kind, LayerKind::Normalize { .. }) {
            if inputs.len() > 1 {
                return Ok(false);
            }
            // Everything but this step wants the channels last.
            let channels = self.declaration.input.channels;
            inputs[0] = self.push(
                StepKind::Arrange { factor: vec![1.0; channels], offset: vec![0.0; channels] },
                IMAGES,
                self.sizes[0],
            );
        }
        let input = inputs[0];
        let sizes = match self.wiring.shapes[at] {
            Shape::Map(map) => Sizes { height: map.height, width: map.width, channels: map.channels },
            Shape::Vector(features) => Sizes { height: 1, width: 1, channels: features },
        };
        let value = match &layer.kind {
            LayerKind::Normalize { mean, std } => {
                let factor: Vec<f32> = std.iter().map(|std| (1.0 / std) as f32).collect();
                let offset = mean.iter().zip(std).map(|(mean, std)| (-mean / std) as f32).collect();
                let kind = match input {
                    IMAGES => StepKind::Arrange { factor, offset },
                    _ => StepKind::Affine { factor, offset },
                };
                self.push(kind, input, sizes)
            }
            LayerKind::Conv2d(conv) if conv.geometry.groups == 1 => {
                let weight = self.numbers(&layer.name, "weight")?;
                let bias = if conv.bias { Some(self.numbers(&layer.name, "bias")?) } else { None };
                let from = self.sizes[input];
                let convolution = Convolution::new(conv, [from.height, from.width], &weight, bias);
                self.push(StepKind::Convolution(Box::new(convolution)), input, sizes)
            }
            LayerKind::BatchNorm(norm) => {
                let [scale, shift] = [self.numbers(&layer.name, "weight")?, self.numbers(&layer.name, "bias")?];
                let statistic = |role: &str| -> Result<Vec<f32>> {
                    let name = format!("{}.{role}", layer.name);
                    Ok(self.statistics[&name].to_dtype(candle_core::DType::F32)?.to_vec1()?)
                };
                let [mean, variance] = [statistic("running_mean")?, statistic("running_var")?];
                let slope = |at: usize| f64::from(scale[at]) / (f64::from(variance[at]) + norm.epsilon).sqrt();
                let factor = (0..norm.channels).map(|at| slope(at) as f32).collect();
                let offset =
                    (0..norm.channels).map(|at| (f64::from(shift[at]) - f64::from(mean[at]) * slope(at)) as f32);
                let offset = offset.collect();
                self.push(StepKind::Affine { factor, offset }, input, sizes)
            }
            LayerKind::Relu => {
                let value = if self.goes_on(at, 0).is_some() { input } else { self.push(StepKind::Pass, input, sizes) };
                self.steps[value - 1].relu = true;
                value
            }
            LayerKind::Add if inputs.len() == 2 => {
                let last = usize::from(inputs[1] > inputs[0]);
                let (later, earlier) = (inputs[last], inputs[1 - last]);
                let takes = later != earlier && self.goes_on(at, last).is_some_and(|step| step.other.is_none());
                let value = if takes { later } else { self.push(StepKind::Pass, later, sizes) };
                self.steps[value - 1].other = Some(earlier);
                value
            }
            LayerKind::MaxPool(pool) => self.push(StepKind::MaxPool(*pool), input, sizes),
            LayerKind::GlobalAvgPool => self.push(StepKind::GlobalAvgPool, input, sizes),
            // With one pixel the order of the values is the same.
            LayerKind::Flatten if self.sizes[input].pixels() == 1 && self.is_read_once(at) => input,
            LayerKind::Linear(linear) => {
                let weight = self.numbers(&layer.name, "weight")?;
                let bias = if linear.bias { Some(self.numbers(&layer.name, "bias")?) } else { None };
                let [forward, backward] = Direct::linear([linear.in_features, linear.out_features], &weight).map(Box::new);
                self.push(StepKind::Linear { forward, backward, bias }, input, sizes)
            }
            _ => return Ok(false),
        };
        self.values.push(value);
        Ok(true)
    }

    fn push(&mut self, kind: StepKind, input: Value, sizes: Sizes) -> Value {
        self.steps.push(Step { kind, input, other: None, relu: false });
        self.sizes.push(sizes);
        self.steps.len()
    }

    /// Whether the step that makes layer `at`'s `operand` can go on with the layer itself: nothing else reads what it makes.
    fn goes_on(&self, at: usize, operand: usize) -> Option<&Step> {
        let layer = self.wiring.inputs[at][operand]?;
        let step = self.values[layer].checked_sub(1).map(|step| &self.steps[step])?;
        let open = matches!(step.kind, StepKind::Convolution(_) | StepKind::Pass) && !step.relu;
        (open && self.readers[layer] == 1).then_some(step)
    }

    fn is_read_once(&self, at: usize) -> bool {
        self.wiring.inputs[at][0].is_some_and(|layer| self.readers[layer] == 1)
    }

    fn numbers(&self, layer: &str, role: &str) -> Result<Vec<f32>> {
        let name = format!("{layer}.{role}");
        let unknown = || crate::Error::unknown_name("weight", &name, self.weights.keys().map(String::as_str));
        let tensor = self.weights.get(&name).ok_or_else(unknown)?;
        Ok(tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?)
    }
}
