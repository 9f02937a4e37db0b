//! The attack engine: a network whose weights do not move, forward and back to the images and no further.

use std::sync::Arc;

use super::convolution::{Convolution, Shape};
use super::elementwise;
use super::finish::Finish;
use super::memory::Memory;
use super::pass::{Gradients, Held, StepTrace, Values};
use super::plan::{IMAGES, Plan, Step, StepKind};
use super::pool;
use super::vector::mask_bytes;
use crate::Result;
use crate::network::{Declaration, LayerKind, Weights};
use crate::numeric::kernel::read;

/// Images go through all steps together as long as the largest value of them takes no more memory than this.
const TOGETHER: usize = 8 << 20;

/// A plan with the weights of one moment.
#[derive(Debug)]
pub(crate) struct FrozenEngine {
    pub(super) plan: Arc<Plan>,
    weights: Vec<StepWeights>,
    pub(super) memory: Arc<Memory>,
}

#[derive(Debug)]
enum StepWeights {
    None,
    /// A convolution or a linear layer.
    Layer {
        forward: Box<Convolution>,
        backward: Box<Convolution>,
        bias: Option<Vec<f32>>,
    },
    /// A batch norm that is not part of a convolution.
    Affine {
        factor: Vec<f32>,
        offset: Vec<f32>,
    },
}

/// What the backward pass needs of the forward one, for each part of the batch and each step.
#[derive(Debug)]
pub(crate) struct Trace(Vec<Vec<StepTrace>>);

impl FrozenEngine {
    /// Takes the weights of a declaration, which `plan` belongs to, in f32 on the CPU.
    pub fn new(
        plan: Arc<Plan>,
        memory: Arc<Memory>,
        declaration: &Declaration,
        weights: &Weights,
        statistics: &Weights,
    ) -> Result<Self> {
        let of_step = |(at, step): (usize, &Step)| -> Result<StepWeights> {
            let layer = &declaration.layers[step.layer];
            let named = |from: &Weights, role: &str| -> Result<Vec<f32>> {
                Ok(from[&format!("{}.{role}", layer.name)].flatten_all()?.to_vec1()?)
            };
            let (shape, has_bias) = match &layer.kind {
                LayerKind::Conv2d(conv) => {
                    (Shape::of_conv(conv, plan.sizes[step.input], plan.sizes[at + 1]), conv.bias)
                }
                LayerKind::Linear(linear) => (Shape::of_linear(linear), linear.bias),
                LayerKind::BatchNorm(norm) => {
                    let [scale, shift] = [named(weights, "weight")?, named(weights, "bias")?];
                    let [mean, variance] = [named(statistics, "running_mean")?, named(statistics, "running_var")?];
                    let slope = |at: usize| f64::from(scale[at]) / (f64::from(variance[at]) + norm.epsilon).sqrt();
                    let offset = |at: usize| (f64::from(shift[at]) - f64::from(mean[at]) * slope(at)) as f32;
                    let factor = (0..norm.channels).map(|at| slope(at) as f32).collect();
                    return Ok(StepWeights::Affine { factor, offset: (0..norm.channels).map(offset).collect() });
                }
                _ => return Ok(StepWeights::None),
            };
            let both = |weight: &[f32]| {
                let [forward, backward] = [Convolution::forward, Convolution::backward];
                Ok([forward(&memory, &shape, weight), backward(&memory, &shape, weight)].map(Box::new))
            };
            let [forward, backward] = read(&weights[&format!("{}.weight", layer.name)], both)?;
            let bias = if has_bias { Some(named(weights, "bias")?) } else { None };
            Ok(StepWeights::Layer { forward, backward, bias })
        };
        let weights = plan.steps.iter().enumerate().map(of_step).collect::<Result<_>>()?;
        Ok(Self { plan, weights, memory })
    }

    /// Logits `[batch, class]` of images `[batch, channel, height, width]`, and what a backward pass needs.
    pub fn forward(&self, images: &[f32]) -> (Vec<f32>, Trace) {
        let image = self.plan.sizes[IMAGES].len();
        let mut logits = Vec::with_capacity(images.len() / image * self.plan.classes());
        let parts = images.chunks(self.together() * image);
        let traces = parts.map(|images| self.forward_part(images, &mut logits)).collect();
        (logits, Trace(traces))
    }

    /// Gradient by the images of what has the given gradient `[batch, class]` by the logits.
    pub fn backward(&self, trace: &Trace, gradient: &[f32]) -> Vec<f32> {
        let (image, classes) = (self.plan.sizes[IMAGES].len(), self.plan.classes());
        let mut by_images = vec![0.0; gradient.len() / classes * image];
        let parts = by_images.chunks_mut(self.together() * image).zip(gradient.chunks(self.together() * classes));
        for ((by_images, gradient), trace) in parts.zip(&trace.0) {
            self.backward_part(trace, gradient, by_images);
        }
        by_images
    }

    /// Images that go through all steps together.
    pub(super) fn together(&self) -> usize {
        let largest = self.plan.sizes.iter().map(|sizes| sizes.len()).max().unwrap_or(1);
        (TOGETHER / (4 * largest)).max(8)
    }

    fn forward_part(&self, images: &[f32], logits: &mut Vec<f32>) -> Vec<StepTrace> {
        let batch = images.len() / self.plan.sizes[IMAGES].len();
        let mut values = Values::new(&self.plan);
        values.hold(IMAGES, Held::Slice(images));
        let traces = self.forward_steps(batch, &mut values, |_| true, None);
        logits.extend_from_slice(values.read(self.plan.output()));
        traces
    }

    /// Runs the chosen steps; values are dropped after the last step that reads them. `moved` is a step with another weight.
    pub(super) fn forward_steps(
        &self,
        batch: usize,
        values: &mut Values<'_>,
        is_chosen: impl Fn(usize) -> bool,
        moved: Option<(usize, &Convolution)>,
    ) -> Vec<StepTrace> {
        let mut traces = Vec::with_capacity(self.plan.steps.len());
        for (at, step) in self.plan.steps.iter().enumerate() {
            if !is_chosen(at) {
                traces.push(StepTrace::default());
                continue;
            }
            let mut out = self.memory.take(batch * self.plan.sizes[at + 1].len());
            let (x, other) = (values.read(step.input), step.other.map(|other| values.read(other)));
            let moved = moved.filter(|(moved, _)| *moved == at).map(|(_, convolution)| convolution);
            traces.push(self.forward_step(at, batch, [Some(x), other], &mut out, moved));
            values.hold(at + 1, Held::Buffer(out));
            for value in [Some(step.input), step.other].into_iter().flatten() {
                if self.plan.last_reader(value) == at {
                    values.drop(value);
                }
            }
        }
        traces
    }

    fn forward_step(
        &self,
        at: usize,
        batch: usize,
        [x, other]: [Option<&[f32]>; 2],
        out: &mut [f32],
        moved: Option<&Convolution>,
    ) -> StepTrace {
        let (step, x) = (&self.plan.steps[at], x.unwrap_or_default());
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let mut trace = StepTrace::default();
        if step.relu {
            trace.relu = vec![0; batch * to.pixels() * mask_bytes(to.channels)];
        }
        let finish = Finish { other, relu: step.relu.then_some(&mut trace.relu[..]), ..Finish::default() };
        match (&step.kind, &self.weights[at]) {
            (_, StepWeights::Layer { forward, bias, .. }) => {
                moved.unwrap_or(forward).run(x, out, Finish { bias: bias.as_deref(), ..finish });
            }
            (_, StepWeights::Affine { factor, offset }) | (StepKind::Affine { factor, offset }, _) => {
                elementwise::affine(x, factor, Some(offset), out, finish);
            }
            (StepKind::Arrange { factor, offset }, _) => elementwise::arrange(x, from, factor, offset, out),
            (StepKind::MaxPool(geometry), _) => {
                trace.winners = vec![0; out.len()];
                pool::max(x, geometry, from, to, out, &mut trace.winners);
            }
            (StepKind::GlobalAvgPool, _) => pool::global_mean(x, from, out),
            _ => elementwise::pass(x, to.channels, out, finish),
        }
        trace
    }

    fn backward_part(&self, traces: &[StepTrace], gradient: &[f32], by_images: &mut [f32]) {
        let is_needed = vec![true; self.plan.sizes.len()];
        let batch = gradient.len() / self.plan.classes();
        let mut gradients = Gradients::new(&self.plan, &self.memory, traces, gradient, &is_needed);
        for at in (0..self.plan.steps.len()).rev() {
            self.backward_step(at, batch, &mut gradients, by_images);
        }
    }

    /// Takes the gradient from a step's value to those that it reads, as far as they are needed.
    pub(super) fn backward_step(&self, at: usize, batch: usize, gradients: &mut Gradients<'_>, by_images: &mut [f32]) {
        let step = &self.plan.steps[at];
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let gradient = gradients.of_step(at);
        match (&step.kind, &self.weights[at]) {
            (StepKind::Arrange { factor, .. }, _) => {
                elementwise::arrange_gradient(&gradient, from, factor, by_images);
            }
            (_, StepWeights::Layer { backward, .. }) => {
                gradients.add(at, batch, |by_x, finish| backward.run(&gradient, by_x, finish));
            }
            (_, StepWeights::Affine { factor, .. }) | (StepKind::Affine { factor, .. }, _) => {
                gradients.add(at, batch, |by_x, finish| elementwise::affine(&gradient, factor, None, by_x, finish));
            }
            (StepKind::MaxPool(geometry), _) => gradients.add_plainly(at, batch, |by_x| {
                pool::max_gradient(&gradient, geometry, from, to, &gradients.traces[at].winners, by_x);
            }),
            (StepKind::GlobalAvgPool, _) => {
                gradients.add_plainly(at, batch, |by_x| pool::global_mean_gradient(&gradient, from, by_x));
            }
            _ => gradients.add(at, batch, |by_x, finish| elementwise::pass(&gradient, to.channels, by_x, finish)),
        }
        gradients.pass_on(at, gradient);
    }
}
