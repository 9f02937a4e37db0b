//! The part of a frozen network that depends on one convolution or linear layer, while that layer's weight moves.
//!
//! Everything else is computed once: the values that the part reads are kept for as many images as a budget allows, and made anew for
//! the others when they are asked for. Going back, nothing is computed beyond the layer itself.

use std::sync::Arc;

use super::convolution::{Convolution, Shape};
use super::frozen::FrozenEngine;
use super::memory::Buffer;
use super::pass::{Gradients, Held, StepTrace, Values};
use super::plan::{IMAGES, StepKind, Value};
use super::weight_gradient::weight_gradient;
use crate::network::{Declaration, LayerKind};

/// A layer that moves, on given images.
#[derive(Debug)]
pub(crate) struct SuffixEngine {
    engine: Arc<FrozenEngine>,
    /// The layer's step.
    step: usize,
    shape: Shape,
    /// What folding multiplied the filters by; none where nothing was folded.
    factor: Option<Vec<f32>>,
    /// For each value, whether it depends on the layer.
    depends: Vec<bool>,
    /// The values that do not, and are read by steps that do.
    border: Vec<Value>,
    images: Vec<f32>,
    /// Border values of the first images.
    kept: Vec<Buffer>,
    kept_images: usize,
}

/// What a part of a batch leaves for its way back.
#[derive(Debug)]
pub(crate) struct SuffixTrace {
    steps: Vec<StepTrace>,
    /// What the layer read.
    input: Buffer,
}

impl SuffixEngine {
    /// None if no step is the layer of that name.
    ///
    /// `images` is `[batch, channel, height, width]`; at most `budget` bytes of values are kept.
    pub fn new(
        engine: Arc<FrozenEngine>,
        declaration: &Declaration,
        layer: &str,
        factor: Option<Vec<f32>>,
        images: Vec<f32>,
        budget: usize,
    ) -> Option<Self> {
        let plan = engine.plan.clone();
        let has_weight = |kind: &StepKind| matches!(kind, StepKind::Convolution | StepKind::Linear);
        let is_it = |name: &str, kind: &StepKind| name == layer && has_weight(kind);
        let step = plan.steps.iter().position(|step| is_it(&declaration.layers[step.layer].name, &step.kind))?;
        let shape = match &declaration.layers[plan.steps[step].layer].kind {
            LayerKind::Conv2d(conv) => Shape::of_conv(conv, plan.sizes[plan.steps[step].input], plan.sizes[step + 1]),
            LayerKind::Linear(linear) => Shape::of_linear(linear),
            _ => return None,
        };
        let mut depends = vec![false; plan.sizes.len()];
        let mut border = Vec::new();
        for (at, one) in plan.steps.iter().enumerate() {
            let reads: Vec<Value> = [Some(one.input), one.other].into_iter().flatten().collect();
            depends[at + 1] = at == step || reads.iter().any(|value| depends[*value]);
            if depends[at + 1] {
                border.extend(reads.into_iter().filter(|value| !depends[*value]));
            }
        }
        border.sort_unstable();
        border.dedup();
        let of_image: usize = border.iter().map(|value| 4 * plan.sizes[*value].len()).sum();
        let count = images.len() / plan.sizes[IMAGES].len();
        let kept_images = count.min(budget / of_image.max(1));
        let mut suffix = Self { engine, step, shape, factor, depends, border, images, kept: Vec::new(), kept_images };
        let rows: Vec<usize> = (0..kept_images).collect();
        suffix.kept = suffix.make(&rows);
        Some(suffix)
    }

    /// Logits `[row, class]` of the images at `rows` with the weight `[out, in, kernel height, kernel width]` as it is before folding.
    pub fn forward(&self, weight: &[f32], rows: &[usize]) -> (Vec<f32>, Vec<SuffixTrace>) {
        let engine = &self.engine;
        let moved = match &self.factor {
            None => Convolution::forward(&engine.memory, &self.shape, weight),
            Some(factor) => {
                let filter = weight.len() / factor.len();
                let folded: Vec<f32> =
                    weight.iter().enumerate().map(|(at, value)| value * factor[at / filter]).collect();
                Convolution::forward(&engine.memory, &self.shape, &folded)
            }
        };
        let (mut logits, mut traces) = (Vec::new(), Vec::new());
        for rows in rows.chunks(engine.together()) {
            let mut border = self.gather(rows);
            let mut values = Values::new(&engine.plan);
            for (value, numbers) in self.border.iter().zip(&border) {
                values.hold(*value, Held::Slice(numbers));
            }
            let steps =
                engine.forward_steps(rows.len(), &mut values, |at| self.depends[at + 1], Some((self.step, &moved)));
            logits.extend_from_slice(values.read(engine.plan.output()));
            drop(values);
            // The layer's own input is the only one that its gradient needs.
            let read = engine.plan.steps[self.step].input;
            if let Some(at) = self.border.iter().position(|value| *value == read) {
                traces.push(SuffixTrace { steps, input: border.swap_remove(at) });
            }
        }
        (logits, traces)
    }

    /// Gradient by the weight of what has the given gradient `[row, class]` by the logits.
    pub fn backward(&self, traces: &[SuffixTrace], gradient: &[f32]) -> Vec<f32> {
        let engine = &self.engine;
        let classes = engine.plan.classes();
        let mut total: Vec<f32> = Vec::new();
        for (trace, gradient) in traces.iter().zip(gradient.chunks(engine.together() * classes)) {
            let batch = gradient.len() / classes;
            let mut gradients = Gradients::new(&engine.plan, &engine.memory, &trace.steps, gradient, &self.depends);
            for at in (self.step + 1..engine.plan.steps.len()).rev().filter(|at| self.depends[at + 1]) {
                engine.backward_step(at, batch, &mut gradients, &mut []);
            }
            let by_output = gradients.of_step(self.step);
            let part = weight_gradient(&engine.memory, &self.shape, &trace.input, &by_output);
            match total.is_empty() {
                true => total = part,
                false => total.iter_mut().zip(part).for_each(|(total, part)| *total += part),
            }
        }
        if let Some(factor) = &self.factor {
            let filter = total.len() / factor.len();
            total.iter_mut().enumerate().for_each(|(at, value)| *value *= factor[at / filter]);
        }
        total
    }

    /// The border values of the images at `rows`.
    fn gather(&self, rows: &[usize]) -> Vec<Buffer> {
        let sizes = &self.engine.plan.sizes;
        let missing: Vec<usize> = rows.iter().copied().filter(|row| *row >= self.kept_images).collect();
        let made = if missing.is_empty() { Vec::new() } else { self.make(&missing) };
        let of_value = |(at, value): (usize, &Value)| {
            let length = sizes[*value].len();
            let mut all = self.engine.memory.take(rows.len() * length);
            let mut next = 0;
            for (row, to) in rows.iter().zip(all.chunks_mut(length)) {
                let from = match *row < self.kept_images {
                    true => &self.kept[at][row * length..][..length],
                    false => {
                        next += 1;
                        &made[at][(next - 1) * length..][..length]
                    }
                };
                to.copy_from_slice(from);
            }
            all
        };
        self.border.iter().enumerate().map(of_value).collect()
    }

    /// Computes the border values of the images at `rows`, in parts.
    fn make(&self, rows: &[usize]) -> Vec<Buffer> {
        let plan = &self.engine.plan;
        let image = plan.sizes[IMAGES].len();
        let together = self.engine.together();
        let take = |value: &Value| self.engine.memory.take(rows.len() * plan.sizes[*value].len());
        let mut border: Vec<Buffer> = self.border.iter().map(take).collect();
        // Nothing behind the last of them is asked for.
        let end = self.border.iter().copied().max().unwrap_or(IMAGES);
        for (part, rows) in rows.chunks(together).enumerate() {
            let images: Vec<f32> = rows.iter().flat_map(|row| &self.images[row * image..][..image]).copied().collect();
            let mut values = Values::new(plan);
            values.hold(IMAGES, Held::Slice(&images));
            values.keep(self.border.clone());
            self.engine.forward_steps(rows.len(), &mut values, |at| at < end && !self.depends[at + 1], None);
            for (value, all) in self.border.iter().zip(&mut border) {
                let length = plan.sizes[*value].len();
                all[part * together * length..][..rows.len() * length].copy_from_slice(values.read(*value));
            }
        }
        border
    }
}
