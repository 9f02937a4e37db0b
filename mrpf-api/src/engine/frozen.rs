//! The attack engine: a network whose weights do not move, forward and back to the images and no further.

use std::sync::Arc;

use super::convolution::{Convolution, Shape};
use super::elementwise;
use super::finish::Finish;
use super::memory::{Buffer, Memory};
use super::pass::{Gradients, Held, Kept, StepTrace, Values};
use super::plain;
use super::plan::{IMAGES, Plan, Step, StepKind};
use super::stages::{Stage, stages};
use crate::Result;
use crate::network::{Declaration, LayerKind, Weights};
use crate::numeric::kernel::{LayerNormRows, read};

/// A plan with the weights of one moment.
#[derive(Debug)]
pub(crate) struct FrozenEngine {
    pub(super) plan: Arc<Plan>,
    weights: Vec<StepWeights>,
    pub(super) stages: Vec<Stage>,
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
    LayerNorm {
        rows: LayerNormRows<f32>,
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
}

/// What the backward pass needs of the forward one, for each stage, each part of the batch and each step.
#[derive(Debug)]
pub(crate) struct Trace(Vec<Vec<Vec<StepTrace>>>);

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
            // What only arranges images for a layer stands under its name as well.
            if !step.has_weights() {
                return Ok(StepWeights::None);
            }
            let layer = &declaration.layers[step.layer];
            let named = |from: &Weights, role: &str| -> Result<Vec<f32>> {
                Ok(from[&format!("{}.{role}", layer.name)].flatten_all()?.to_vec1()?)
            };
            match &layer.kind {
                LayerKind::BatchNorm(norm) => {
                    let [scale, shift] = [named(weights, "weight")?, named(weights, "bias")?];
                    let [mean, variance] = [named(statistics, "running_mean")?, named(statistics, "running_var")?];
                    let slope = |at: usize| f64::from(scale[at]) / (f64::from(variance[at]) + norm.epsilon).sqrt();
                    let offset = |at: usize| (f64::from(shift[at]) - f64::from(mean[at]) * slope(at)) as f32;
                    let factor = (0..norm.channels).map(|at| slope(at) as f32).collect();
                    return Ok(StepWeights::Affine { factor, offset: (0..norm.channels).map(offset).collect() });
                }
                LayerKind::LayerNorm(norm) => {
                    let rows = LayerNormRows::new(norm.channels, norm.epsilon);
                    let [scale, shift] = [named(weights, "weight")?, named(weights, "bias")?];
                    return Ok(StepWeights::LayerNorm { rows, scale, shift });
                }
                _ => {}
            }
            let Some((shape, has_bias)) = Shape::of_step(&plan, at, &layer.kind) else { return Ok(StepWeights::None) };
            let both = |weight: &[f32]| {
                let [forward, backward] = [Convolution::forward, Convolution::backward];
                Ok([forward(&memory, &shape, weight), backward(&memory, &shape, weight)].map(Box::new))
            };
            let [forward, backward] = read(&weights[&format!("{}.weight", layer.name)], both)?;
            let bias = if has_bias { Some(named(weights, "bias")?) } else { None };
            Ok(StepWeights::Layer { forward, backward, bias })
        };
        let weights = plan.steps.iter().enumerate().map(of_step).collect::<Result<Vec<_>>>()?;
        let stages = stages(&plan, |at| match &weights[at] {
            StepWeights::Layer { forward, .. } => forward.bytes(),
            _ => 0,
        });
        Ok(Self { plan, weights, stages, memory })
    }

    /// Logits `[batch, class]` of images `[batch, channel, height, width]`, and what a backward pass needs.
    pub fn forward(&self, images: &[f32]) -> (Vec<f32>, Trace) {
        let (logits, trace) = self.forward_stages(0, images);
        (logits.to_vec(), trace)
    }

    /// Gradient by the images of what has the given gradient `[batch, class]` by the logits.
    pub fn backward(&self, trace: &Trace, gradient: &[f32]) -> Vec<f32> {
        let mut by_images = vec![0.0; gradient.len() / self.plan.classes() * self.plan.sizes[IMAGES].len()];
        self.backward_stages(0, trace, gradient, &mut by_images);
        by_images
    }

    /// Stages from `first` on: the logits from that stage's input.
    pub(super) fn forward_stages(&self, first: usize, input: &[f32]) -> (Buffer, Trace) {
        let mut last: Option<Buffer> = None;
        let mut traces = Vec::with_capacity(self.stages.len());
        for stage in &self.stages[first..] {
            let x = last.as_deref().unwrap_or(input);
            let [from, to] = [stage.input, stage.output].map(|value| self.plan.sizes[value].len());
            let mut out = self.memory.take(x.len() / from * to);
            let together = together(stage);
            let parts = x.chunks(together * from).zip(out.chunks_mut(together * to));
            traces.push(parts.map(|(x, out)| self.forward_part(stage, x, out)).collect());
            last = Some(out);
        }
        (last.unwrap_or_else(|| self.memory.take(0)), Trace(traces))
    }

    /// The way back through the stages from `first` on, to the gradient by that stage's input.
    pub(super) fn backward_stages(&self, first: usize, trace: &Trace, by_logits: &[f32], by_input: &mut [f32]) {
        let mut last: Option<Buffer> = None;
        for (stage, traces) in self.stages[first..].iter().zip(&trace.0).rev() {
            let by_out = last.as_deref().unwrap_or(by_logits);
            let [from, to] = [stage.input, stage.output].map(|value| self.plan.sizes[value].len());
            let together = together(stage);
            let run = |by_x: &mut [f32]| {
                let parts = by_x.chunks_mut(together * from).zip(by_out.chunks(together * to)).zip(traces);
                parts.for_each(|((by_x, by_out), traces)| self.backward_part(stage, traces, by_out, by_x));
            };
            if stage.input == self.stages[first].input {
                return run(by_input);
            }
            let mut by_x = self.memory.take(by_out.len() / to * from);
            run(&mut by_x);
            last = Some(by_x);
        }
    }

    fn forward_part(&self, stage: &Stage, x: &[f32], out: &mut [f32]) -> Vec<StepTrace> {
        let mut values = Values::new(&self.plan);
        values.hold(stage.input, Held::Slice(x));
        let batch = x.len() / self.plan.sizes[stage.input].len();
        let traces = self.forward_steps(batch, &mut values, |at| stage.steps().contains(&at), None);
        out.copy_from_slice(values.read(stage.output));
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
            let operands: Vec<&[f32]> = step.operands().map(|value| values.read(value)).collect();
            let other = step.other.map(|other| values.read(other));
            let moved = moved.filter(|(moved, _)| *moved == at).map(|(_, convolution)| convolution);
            traces.push(self.forward_step(at, batch, &operands, other, &mut out, moved));
            values.hold(at + 1, Held::Buffer(out));
            for value in step.reads() {
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
        operands: &[&[f32]],
        other: Option<&[f32]>,
        out: &mut [f32],
        moved: Option<&Convolution>,
    ) -> StepTrace {
        let (step, x) = (&self.plan.steps[at], operands[0]);
        let mut trace = StepTrace::new(step, self.plan.sizes[at + 1], batch);
        let finish = trace.finish(step, other);
        trace.kept = match &self.weights[at] {
            StepWeights::Layer { forward, bias, .. } => {
                moved.unwrap_or(forward).run(x, out, Finish { bias: bias.as_deref(), ..finish });
                Kept::Nothing
            }
            StepWeights::Affine { factor, offset } => {
                elementwise::affine(x, factor, Some(offset), out, finish);
                Kept::Nothing
            }
            StepWeights::LayerNorm { rows, scale, shift } => {
                rows.forward(x, scale, shift, out);
                Kept::Numbers(vec![self.memory.copy(x)])
            }
            StepWeights::None => plain::forward(&self.plan, &self.memory, at, operands, out, finish),
        };
        trace
    }

    fn backward_part(&self, stage: &Stage, traces: &[StepTrace], by_out: &[f32], by_x: &mut [f32]) {
        let is_needed = vec![true; self.plan.sizes.len()];
        let batch = by_out.len() / self.plan.sizes[stage.output].len();
        let ends = [stage.input, stage.output];
        let mut gradients = Gradients::new(&self.plan, &self.memory, traces, ends, by_out, &is_needed);
        for at in stage.steps().rev() {
            self.backward_step(at, batch, &mut gradients, by_x);
        }
        if stage.input != IMAGES {
            by_x.copy_from_slice(&gradients.take(stage.input));
        }
    }

    /// Takes the gradient from a step's value to those that it reads, as far as they are needed.
    pub(super) fn backward_step(&self, at: usize, batch: usize, gradients: &mut Gradients<'_>, by_images: &mut [f32]) {
        let gradient = gradients.of_step(at);
        let traces = gradients.traces;
        match (&self.plan.steps[at].kind, &self.weights[at]) {
            (StepKind::Arrange { factor, .. }, _) => {
                elementwise::arrange_gradient(&gradient, self.plan.sizes[IMAGES], factor, by_images);
            }
            (_, StepWeights::Layer { backward, .. }) => {
                gradients.add(at, batch, |by_x, finish| backward.run(&gradient, by_x, finish));
            }
            (_, StepWeights::Affine { factor, .. }) => {
                gradients.add(at, batch, |by_x, finish| elementwise::affine(&gradient, factor, None, by_x, finish));
            }
            (_, StepWeights::LayerNorm { rows, scale, .. }) => gradients.add_made(at, 0, batch, |by_x| {
                if let Kept::Numbers(x) = &traces[at].kept {
                    rows.by_input(&x[0], scale, &gradient, by_x);
                }
            }),
            (_, StepWeights::None) => plain::backward(&self.plan, at, batch, &gradient, gradients),
        }
        gradients.pass_on(at, gradient);
    }
}

/// Images that go through a stage at a time; the more threads, the more. Every image is computed by itself, so that this changes no result.
fn together(stage: &Stage) -> usize {
    stage.together * rayon::current_num_threads().div_ceil(2)
}
