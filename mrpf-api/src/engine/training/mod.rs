//! A training pass: batch norm by the batch, and the gradient by every weight that one is wanted of.

mod batch_norm;
mod operation;
#[cfg(test)]
mod tests;

pub(crate) use operation::attach;

use candle_core::{DType, Device, Tensor};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::batch_norm::Moments;
use super::convolution::{Convolution, Shape};
use super::elementwise;
use super::finish::Finish;
use super::memory::{Buffer, Memory};
use super::pass::{Gradients, StepTrace};
use super::plain;
use super::plan::{IMAGES, Plan, Step, StepKind};
use super::weight_gradient;
use crate::Result;
use crate::network::{Declaration, LayerKind, Weights};
use crate::numeric::BatchStatistics;
use crate::numeric::kernel::{LayerNormRows, read};

/// What a pass computed, with all that its gradients need.
#[derive(Debug)]
pub(crate) struct TrainingPass {
    plan: Arc<Plan>,
    declaration: Arc<Declaration>,
    memory: Arc<Memory>,
    /// Those of the pass, without gradients.
    weights: Weights,
    batch: usize,
    values: Vec<Option<Buffer>>,
    traces: Vec<StepTrace>,
    /// Of the steps that are batch norms.
    norms: Vec<Option<Norm>>,
}

/// Numbers of each channel.
#[derive(Debug)]
struct Norm {
    mean: Vec<f32>,
    /// One over the standard deviation.
    inverse: Vec<f64>,
}

/// What the forward pass found.
#[derive(Debug)]
pub(crate) struct Forward {
    /// `[batch, class]`.
    pub logits: Vec<f32>,
    /// Of each batch norm, by the layer's position.
    pub statistics: Vec<(usize, BatchStatistics)>,
}

/// What the backward pass found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub by_weight: BTreeMap<String, Vec<f32>>,
    pub by_images: Option<Vec<f32>>,
}

impl TrainingPass {
    /// Logits and statistics for images `[batch, channel, height, width]`.
    pub fn run(
        plan: Arc<Plan>,
        declaration: Arc<Declaration>,
        memory: Arc<Memory>,
        weights: Weights,
        images: &[f32],
    ) -> Result<(Self, Forward)> {
        let batch = images.len() / plan.sizes[IMAGES].len();
        let values = plan.sizes.iter().map(|_| None).collect();
        let (traces, norms) = (Vec::new(), Vec::new());
        let mut pass = Self { plan, declaration, memory, weights, batch, values, traces, norms };
        let mut statistics = Vec::new();
        let plan = pass.plan.clone();
        for (at, step) in plan.steps.iter().enumerate() {
            let mut out = pass.memory.take(batch * plan.sizes[at + 1].len());
            let (trace, norm) = pass.step(at, step, images, &mut out)?;
            if let Some((norm, batch_statistics)) = norm {
                statistics.push((step.layer, batch_statistics));
                pass.norms.push(Some(norm));
            } else {
                pass.norms.push(None);
            }
            pass.traces.push(trace);
            pass.values[at + 1] = Some(out);
            for value in step.reads() {
                if plan.last_reader(value) == at && !pass.is_needed_again(value) {
                    pass.values[value] = None;
                }
            }
        }
        let logits = pass.values[plan.output()].as_deref().unwrap_or_default().to_vec();
        Ok((pass, Forward { logits, statistics }))
    }

    /// Whether a backward pass reads the value.
    fn is_needed_again(&self, value: usize) -> bool {
        let reads = |step: &&Step| step.input == value && step.has_weights();
        self.plan.steps.iter().any(|step| reads(&step))
    }

    fn weight(&self, layer: usize, role: &str) -> &Tensor {
        &self.weights[&format!("{}.{role}", self.declaration.layers[layer].name)]
    }

    fn numbers(&self, layer: usize, role: &str) -> Result<Vec<f32>> {
        Ok(self.weight(layer, role).flatten_all()?.to_vec1()?)
    }

    /// A step's shape as a convolution, and whether it has a bias.
    fn shape(&self, at: usize) -> Option<(Shape, bool)> {
        Shape::of_step(&self.plan, at, &self.declaration.layers[self.plan.steps[at].layer].kind)
    }

    fn step(
        &self,
        at: usize,
        step: &Step,
        images: &[f32],
        out: &mut [f32],
    ) -> Result<(StepTrace, Option<(Norm, BatchStatistics)>)> {
        let of = |value: usize| self.values[value].as_deref().unwrap_or(images);
        let (operands, other) = (step.operands().map(of).collect::<Vec<_>>(), step.other.map(of));
        let (x, to) = (operands[0], self.plan.sizes[at + 1]);
        let mut trace = StepTrace::new(step, to, self.batch);
        let finish = trace.finish(step, other);
        if let Some((shape, has_bias)) = self.shape(at) {
            let bias = if has_bias { Some(self.numbers(step.layer, "bias")?) } else { None };
            let finish = Finish { bias: bias.as_deref(), ..finish };
            let run = |weight: &[f32]| {
                Convolution::forward(&self.memory, &shape, weight).run(x, out, finish);
                Ok(())
            };
            read(self.weight(step.layer, "weight"), run)?;
            return Ok((trace, None));
        }
        match (&step.kind, &self.declaration.layers[step.layer].kind) {
            (StepKind::BatchNorm, LayerKind::BatchNorm(norm)) => {
                let (scale, shift) = (self.numbers(step.layer, "weight")?, self.numbers(step.layer, "bias")?);
                let Moments { mean, variance } = batch_norm::moments(x, to.channels);
                let inverse: Vec<f64> = variance.iter().map(|value| 1.0 / (value + norm.epsilon).sqrt()).collect();
                let slope = |at: usize| f64::from(scale[at]) * inverse[at];
                let factor: Vec<f32> = (0..to.channels).map(|at| slope(at) as f32).collect();
                let offset = |at: usize| (f64::from(shift[at]) - mean[at] * slope(at)) as f32;
                let offset: Vec<f32> = (0..to.channels).map(offset).collect();
                elementwise::affine(x, &factor, Some(&offset), out, finish);
                let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu)?.to_dtype(DType::F32);
                let count = self.batch * to.pixels();
                let statistics = BatchStatistics { mean: tensor(&mean)?, variance: tensor(&variance)?, count };
                let mean = mean.into_iter().map(|mean| mean as f32).collect();
                return Ok((trace, Some((Norm { mean, inverse }, statistics))));
            }
            (StepKind::LayerNorm, LayerKind::LayerNorm(norm)) => {
                let (scale, shift) = (self.numbers(step.layer, "weight")?, self.numbers(step.layer, "bias")?);
                LayerNormRows::new(norm.channels, norm.epsilon).forward(x, &scale, &shift, out);
            }
            _ => trace.kept = plain::forward(&self.plan, &self.memory, at, &operands, out, finish),
        }
        Ok((trace, None))
    }

    /// Gradients by the weights named, and by the images if wanted, from that by the logits `[batch, class]`.
    pub(super) fn backward(&self, gradient: &[f32], wanted: &BTreeSet<String>, by_images: bool) -> Result<Found> {
        let mut found = Found::default();
        let is_needed = self.needed(wanted, by_images);
        let ends = [IMAGES, self.plan.output()];
        let mut gradients = Gradients::new(&self.plan, &self.memory, &self.traces, ends, gradient, &is_needed);
        for (at, step) in self.plan.steps.iter().enumerate().rev() {
            if !is_needed[at + 1] {
                continue;
            }
            let gradient = gradients.of_step(at);
            let x = self.values[step.input].as_deref().unwrap_or_default();
            let mut keep = |role: &str, values: &mut dyn FnMut() -> Vec<f32>| {
                let name = format!("{}.{role}", self.declaration.layers[step.layer].name);
                if wanted.contains(&name) {
                    found.by_weight.insert(name, values());
                }
            };
            if let Some((shape, has_bias)) = self.shape(at) {
                keep("weight", &mut || weight_gradient::weight_gradient(&self.memory, &shape, x, &gradient));
                if has_bias {
                    keep("bias", &mut || weight_gradient::bias_gradient(&gradient, shape.outputs));
                }
                if is_needed[step.input] {
                    read(self.weight(step.layer, "weight"), |weight| {
                        let backward = Convolution::backward(&self.memory, &shape, weight);
                        gradients.add(at, self.batch, |by_x, finish| backward.run(&gradient, by_x, finish));
                        Ok(())
                    })?;
                }
            } else if let Some(norm) = &self.norms[at] {
                let [plain, with_x] = batch_norm::gradient_sums(x, &gradient, &norm.mean);
                let along: Vec<f64> = with_x.iter().zip(&norm.inverse).map(|(sum, inverse)| sum * inverse).collect();
                keep("weight", &mut || along.iter().map(|value| *value as f32).collect());
                keep("bias", &mut || plain.iter().map(|value| *value as f32).collect());
                if is_needed[step.input] {
                    let scale = self.numbers(step.layer, "weight")?;
                    let factors = norm.gradient_factors(&scale, &plain, &along, (x.len() / scale.len()) as f64);
                    let factors = [&factors[0][..], &factors[1], &factors[2]];
                    gradients.add(at, self.batch, |by_x, finish| {
                        batch_norm::combine(x, &gradient, factors, by_x, finish);
                    });
                }
            } else if let (StepKind::LayerNorm, LayerKind::LayerNorm(norm)) =
                (&step.kind, &self.declaration.layers[step.layer].kind)
            {
                let rows = LayerNormRows::new(norm.channels, norm.epsilon);
                // An attack wants neither of them.
                let sums = LazyCell::new(|| rows.by_scale_and_shift(x, &gradient));
                keep("weight", &mut || sums[0].clone());
                keep("bias", &mut || sums[1].clone());
                if is_needed[step.input] {
                    let scale = self.numbers(step.layer, "weight")?;
                    gradients.add_made(at, 0, self.batch, |by_x| rows.by_input(x, &scale, &gradient, by_x));
                }
            } else if let StepKind::Arrange { factor, .. } = &step.kind {
                if by_images {
                    let mut made = vec![0.0; self.batch * self.plan.sizes[IMAGES].len()];
                    elementwise::arrange_gradient(&gradient, self.plan.sizes[IMAGES], factor, &mut made);
                    match &mut found.by_images {
                        Some(sum) => elementwise::add(&made, sum),
                        none => *none = Some(made),
                    }
                }
            } else {
                plain::backward(&self.plan, at, self.batch, &gradient, &mut gradients);
            }
            gradients.pass_on(at, gradient);
        }
        Ok(found)
    }

    /// For each value, whether something wanted lies at or before it.
    fn needed(&self, wanted: &BTreeSet<String>, by_images: bool) -> Vec<bool> {
        let mut is_needed = vec![by_images];
        for step in &self.plan.steps {
            let name = &self.declaration.layers[step.layer].name;
            let own =
                step.has_weights() && ["weight", "bias"].iter().any(|role| wanted.contains(&format!("{name}.{role}")));
            is_needed.push(own || step.reads().any(|value| is_needed[value]));
        }
        is_needed
    }
}

impl Norm {
    /// With `slope = scale / deviation`, the gradient by `x` is
    /// `slope * (g - mean(g) - normal * mean(g * normal))` (Ioffe and Szegedy 2015, section 3), here as `a * g + b * x + c`.
    fn gradient_factors(&self, scale: &[f32], plain: &[f64], along: &[f64], count: f64) -> [Vec<f32>; 3] {
        let mut factors = [Vec::new(), Vec::new(), Vec::new()];
        for at in 0..scale.len() {
            let slope = f64::from(scale[at]) * self.inverse[at];
            let of_x = -slope * self.inverse[at] * along[at] / count;
            let constant = -slope * plain[at] / count - of_x * f64::from(self.mean[at]);
            let three = [slope, of_x, constant];
            factors.iter_mut().zip(three).for_each(|(factors, value)| factors.push(value as f32));
        }
        factors
    }
}
