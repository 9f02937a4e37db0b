//! The part of a frozen network that depends on one convolution or linear layer, while that layer's weight moves.
//!
//! Everything else is computed once: the values that the part reads are kept for as many images as a budget allows, and made anew for
//! the others when they are asked for. Going back, nothing is computed beyond the layer itself. The stage that holds the layer
//! is run in part, those behind it are run as they are.

use std::sync::Arc;

use super::convolution::{Convolution, Shape};
use super::frozen::{FrozenEngine, Trace};
use super::memory::Buffer;
use super::pass::{Gradients, Held, StepTrace, Values};
use super::plan::{IMAGES, Step, Value};
use super::stages::Stage;
use super::weight_gradient::weight_gradient;
use crate::network::Declaration;

/// A layer that moves, on given images.
#[derive(Debug)]
pub(crate) struct SuffixEngine {
    engine: Arc<FrozenEngine>,
    /// The layer's step, and the stage that holds it.
    step: usize,
    stage: usize,
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

/// What a pass leaves for its way back.
#[derive(Debug)]
pub(crate) struct SuffixTrace {
    /// Of each part of the batch in the layer's stage.
    parts: Vec<(Vec<StepTrace>, Border)>,
    /// Of the stages behind.
    behind: Option<Trace>,
}

/// Where the border values of some images are.
#[derive(Debug)]
enum Border {
    /// Kept, from this image on.
    Kept(usize),
    /// Put together, in the order of the values.
    Gathered(Vec<Buffer>),
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
        let is_it = |name: &str, step: &Step| name == layer && step.has_weights();
        let step = plan.steps.iter().position(|step| is_it(&declaration.layers[step.layer].name, step))?;
        let (shape, _) = Shape::of_step(&plan, step, &declaration.layers[plan.steps[step].layer].kind)?;
        let stage = engine.stages.iter().position(|stage| stage.steps().contains(&step))?;
        let mut depends = vec![false; plan.sizes.len()];
        let mut border = Vec::new();
        for (at, one) in plan.steps.iter().enumerate() {
            depends[at + 1] = at == step || one.reads().any(|value| depends[value]);
            if depends[at + 1] {
                border.extend(one.reads().filter(|value| !depends[*value]));
            }
        }
        border.sort_unstable();
        border.dedup();
        let of_image: usize = border.iter().map(|value| 4 * plan.sizes[*value].len()).sum();
        let count = images.len() / plan.sizes[IMAGES].len();
        let kept_images = count.min(budget / of_image.max(1));
        let kept = Vec::new();
        let mut suffix = Self { engine, step, stage, shape, factor, depends, border, images, kept, kept_images };
        let rows: Vec<usize> = (0..kept_images).collect();
        suffix.kept = suffix.make(&rows);
        Some(suffix)
    }

    /// The stage that holds the layer.
    fn stage(&self) -> &Stage {
        &self.engine.stages[self.stage]
    }

    /// Logits `[row, class]` of the images at `rows` with the weight `[out, in, kernel height, kernel width]` as it is before folding.
    pub fn forward(&self, weight: &[f32], rows: &[usize]) -> (Vec<f32>, SuffixTrace) {
        let (engine, stage) = (&self.engine, self.stage());
        let moved = match &self.factor {
            None => Convolution::forward(&engine.memory, &self.shape, weight),
            Some(factor) => {
                let filter = weight.len() / factor.len();
                let folded: Vec<f32> =
                    weight.iter().enumerate().map(|(at, value)| value * factor[at / filter]).collect();
                Convolution::forward(&engine.memory, &self.shape, &folded)
            }
        };
        let length = engine.plan.sizes[stage.output].len();
        let (mut out, mut parts) = (engine.memory.take(rows.len() * length), Vec::new());
        for (rows, out) in rows.chunks(stage.together).zip(out.chunks_mut(stage.together * length)) {
            let border = self.border_of(rows);
            let mut values = Values::new(&engine.plan);
            for (at, value) in self.border.iter().enumerate() {
                values.hold(*value, Held::Slice(self.read(&border, at, rows.len())));
            }
            let is_chosen = |at| stage.steps().contains(&at) && self.depends[at + 1];
            let traces = engine.forward_steps(rows.len(), &mut values, is_chosen, Some((self.step, &moved)));
            out.copy_from_slice(values.read(stage.output));
            parts.push((traces, border));
        }
        if self.stage + 1 == engine.stages.len() {
            return (out.to_vec(), SuffixTrace { parts, behind: None });
        }
        let (logits, behind) = engine.forward_stages(self.stage + 1, &out);
        (logits.to_vec(), SuffixTrace { parts, behind: Some(behind) })
    }

    /// Gradient by the weight of what has the given gradient `[row, class]` by the logits.
    pub fn backward(&self, trace: &SuffixTrace, gradient: &[f32]) -> Vec<f32> {
        let (engine, stage) = (&self.engine, self.stage());
        let length = engine.plan.sizes[stage.output].len();
        let by_out = trace.behind.as_ref().map(|behind| {
            let mut by_out = engine.memory.take(gradient.len() / engine.plan.classes() * length);
            engine.backward_stages(self.stage + 1, behind, gradient, &mut by_out);
            by_out
        });
        let by_out = by_out.as_deref().unwrap_or(gradient);
        let mut total: Vec<f32> = Vec::new();
        for ((traces, border), by_out) in trace.parts.iter().zip(by_out.chunks(stage.together * length)) {
            let batch = by_out.len() / length;
            let ends = [stage.input, stage.output];
            let mut gradients = Gradients::new(&engine.plan, &engine.memory, traces, ends, by_out, &self.depends);
            for at in (self.step + 1..stage.output).rev().filter(|at| self.depends[at + 1]) {
                engine.backward_step(at, batch, &mut gradients, &mut []);
            }
            let by_layer = gradients.of_step(self.step);
            let read = engine.plan.steps[self.step].input;
            let x = self.border.iter().position(|value| *value == read).map(|at| self.read(border, at, batch));
            let part = weight_gradient(&engine.memory, &self.shape, x.unwrap_or_default(), &by_layer);
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

    /// The border values of the images at `rows`: those that are kept, where they follow one another, else put together.
    fn border_of(&self, rows: &[usize]) -> Border {
        let is_run = rows.windows(2).all(|two| two[0] + 1 == two[1]);
        match (rows.first(), rows.last()) {
            (Some(first), Some(last)) if is_run && *last < self.kept_images => Border::Kept(*first),
            _ => Border::Gathered(self.gather(rows)),
        }
    }

    /// Value `at` of a border of so many images.
    fn read<'a>(&'a self, border: &'a Border, at: usize, images: usize) -> &'a [f32] {
        let length = self.engine.plan.sizes[self.border[at]].len();
        match border {
            Border::Kept(first) => &self.kept[at][first * length..][..images * length],
            Border::Gathered(values) => &values[at],
        }
    }

    /// Copies the border values of the images at `rows`; those that are not kept are made anew.
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
        let together = self.stage().together;
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
