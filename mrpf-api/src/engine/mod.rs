//! The attack engine: a network whose weights do not move, forward and back to the images and no further.
//!
//! The declaration becomes a list of steps once (`plan`): batch norm is in the convolutions, bias, shortcut and ReLU follow them while
//! their output is in the cache. Values are `[height, width, channel]`, buffers are used again, and of the forward pass the backward
//! one needs a bit for each ReLU. Convolutions go by Winograd's filtering where that saves work (`winograd`), else by one
//! matrix product (`columns`). In f32 on the CPU; other networks run by the operations of [`crate::numeric`].
//!
//! How work is divided hangs on sizes alone, so the results are the same bits at any number of threads.

mod convolution;
mod direct;
mod elementwise;
mod finish;
mod plan;
mod pool;
mod product;
mod slots;
mod transform;
mod vector;
mod winograd;

#[cfg(test)]
mod tests;

use std::sync::Mutex;

use self::finish::Finish;
use self::plan::{IMAGES, Plan, Step, StepKind};
use self::slots::Slots;
use self::vector::mask_bytes;
use crate::Result;
use crate::network::{Declaration, Weights, Wiring};

/// Images go through all steps together as long as the largest value of them takes no more memory than this.
const TOGETHER: usize = 16 << 20;

/// A plan with the buffers that it runs in.
#[derive(Debug)]
pub(crate) struct Engine {
    plan: Plan,
    values: Slots,
    gradients: Slots,
    /// Kept from call to call, so that their pages are there already.
    buffers: Mutex<Vec<Vec<f32>>>,
}

/// What the backward pass needs of the forward one, for each part of the batch and each step.
#[derive(Debug)]
pub(crate) struct Trace(Vec<Vec<StepTrace>>);

#[derive(Debug, Default)]
struct StepTrace {
    /// A bit for each value that passed a ReLU.
    relu: Vec<u8>,
    /// The tap that won each window.
    winners: Vec<u16>,
}

impl Engine {
    /// The engine of a network; `None` if it has a layer that is not known here.
    pub fn new(
        declaration: &Declaration,
        wiring: &Wiring,
        weights: &Weights,
        statistics: &Weights,
    ) -> Result<Option<Self>> {
        let Some(plan) = Plan::new(declaration, wiring, weights, statistics)? else { return Ok(None) };
        let (values, gradients) = (Slots::of_values(&plan), Slots::of_gradients(&plan));
        Ok(Some(Self { plan, values, gradients, buffers: Mutex::default() }))
    }

    /// Logits `[batch, class]` of images `[batch, channel, height, width]`, and what a backward pass needs.
    pub fn forward(&self, images: &[f32]) -> (Vec<f32>, Trace) {
        let mut buffers = self.take_buffers();
        let mut logits = Vec::with_capacity(images.len() / self.plan.sizes[IMAGES].len() * self.classes());
        let parts = images.chunks(self.together() * self.plan.sizes[IMAGES].len());
        let traces = parts.map(|images| self.forward_part(images, &mut buffers, &mut logits)).collect();
        self.give_back(buffers);
        (logits, Trace(traces))
    }

    /// Gradient by the images of what has the given gradient `[batch, class]` by the logits.
    pub fn backward(&self, trace: &Trace, gradient: &[f32]) -> Vec<f32> {
        let mut buffers = self.take_buffers();
        let image = self.plan.sizes[IMAGES].len();
        let mut by_images = vec![0.0; gradient.len() / self.classes() * image];
        let parts =
            by_images.chunks_mut(self.together() * image).zip(gradient.chunks(self.together() * self.classes()));
        for ((by_images, gradient), trace) in parts.zip(&trace.0) {
            self.backward_part(trace, gradient, by_images, &mut buffers);
        }
        self.give_back(buffers);
        by_images
    }

    fn classes(&self) -> usize {
        self.plan.sizes[self.plan.steps.len()].len()
    }

    /// Images that go through all steps together.
    fn together(&self) -> usize {
        let largest = self.plan.sizes.iter().map(|sizes| sizes.len()).max().unwrap_or(1);
        (TOGETHER / (4 * largest)).max(8)
    }

    fn take_buffers(&self) -> Vec<Vec<f32>> {
        let mut buffers = self.buffers.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default();
        buffers.resize(self.values.count().max(self.gradients.count()), Vec::new());
        buffers
    }

    fn give_back(&self, buffers: Vec<Vec<f32>>) {
        if let Ok(mut kept) = self.buffers.lock() {
            *kept = buffers;
        }
    }

    fn forward_part(&self, images: &[f32], buffers: &mut [Vec<f32>], logits: &mut Vec<f32>) -> Vec<StepTrace> {
        let batch = images.len() / self.plan.sizes[IMAGES].len();
        let mut traces = Vec::with_capacity(self.plan.steps.len());
        for (at, step) in self.plan.steps.iter().enumerate() {
            let slot = self.values.of(at + 1);
            let mut out = std::mem::take(&mut buffers[slot]);
            let length = batch * self.plan.sizes[at + 1].len();
            if out.len() < length {
                out.resize(length, 0.0);
            }
            let read = |value: usize| match value {
                IMAGES => images,
                value => &buffers[self.values.of(value)][..batch * self.plan.sizes[value].len()],
            };
            traces.push(self.forward_step(at, step, batch, read(step.input), step.other.map(read), &mut out[..length]));
            buffers[slot] = out;
        }
        let last = self.plan.steps.len();
        logits.extend_from_slice(&buffers[self.values.of(last)][..batch * self.classes()]);
        traces
    }

    fn forward_step(
        &self,
        at: usize,
        step: &Step,
        batch: usize,
        x: &[f32],
        other: Option<&[f32]>,
        out: &mut [f32],
    ) -> StepTrace {
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let mut trace = StepTrace::default();
        if step.relu {
            trace.relu = vec![0; batch * to.pixels() * mask_bytes(to.channels)];
        }
        let finish = Finish { other, relu: step.relu.then_some(&mut trace.relu[..]), ..Finish::default() };
        match &step.kind {
            StepKind::Arrange { factor, offset } => elementwise::arrange(x, from, factor, offset, out),
            StepKind::Affine { factor, offset } => elementwise::affine(x, factor, Some(offset), out, false),
            StepKind::Convolution(convolution) => {
                convolution.run(x, out, Finish { bias: convolution.bias.as_deref(), ..finish });
            }
            StepKind::Pass => elementwise::pass(x, to.channels, out, finish),
            StepKind::MaxPool(geometry) => {
                trace.winners = vec![0; out.len()];
                pool::max(x, geometry, from, to, out, &mut trace.winners);
            }
            StepKind::GlobalAvgPool => pool::global_mean(x, from, out),
            StepKind::Linear { forward, bias, .. } => {
                forward.run(x, [1, 1], out, [1, 1], Finish { bias: bias.as_deref(), ..finish });
            }
        }
        trace
    }

    fn backward_part(&self, traces: &[StepTrace], gradient: &[f32], by_images: &mut [f32], buffers: &mut [Vec<f32>]) {
        let batch = gradient.len() / self.classes();
        let length = |value: usize| batch * self.plan.sizes[value].len();
        let last = self.plan.steps.len();
        let mut written = vec![false; last + 1];
        // Puts a part of a value's gradient into its buffer; `put` is told whether something is there already.
        let mut give = |buffers: &mut [Vec<f32>], value: usize, put: &mut dyn FnMut(&mut [f32], bool)| {
            let buffer = &mut buffers[self.gradients.of(value)];
            if buffer.len() < length(value) {
                buffer.resize(length(value), 0.0);
            }
            let is_there = std::mem::replace(&mut written[value], true);
            put(&mut buffer[..length(value)], is_there);
        };
        give(buffers, last, &mut |buffer, _| buffer.copy_from_slice(gradient));
        for (at, step) in self.plan.steps.iter().enumerate().rev() {
            let (slot, trace) = (self.gradients.of(at + 1), &traces[at]);
            let mut kept = std::mem::take(&mut buffers[slot]);
            let gradient = &mut kept[..length(at + 1)];
            let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
            if step.relu {
                elementwise::through_relu(gradient, to.channels, &trace.relu);
            }
            let gradient = &*gradient;
            if let Some(other) = step.other {
                give(buffers, other, &mut |buffer, is_there| elementwise::put(gradient, buffer, is_there));
            }
            match &step.kind {
                StepKind::Arrange { factor, .. } => {
                    elementwise::arrange_gradient(gradient, from, factor, by_images);
                }
                kind => give(buffers, step.input, &mut |by_x, is_there| {
                    match kind {
                        StepKind::Arrange { .. } => {}
                        StepKind::Affine { factor, .. } => elementwise::affine(gradient, factor, None, by_x, is_there),
                        StepKind::Convolution(convolution) => {
                            convolution.input_gradient(gradient, by_x, Finish { accumulate: is_there, ..Finish::default() });
                        }
                        StepKind::Pass => elementwise::put(gradient, by_x, is_there),
                        StepKind::Linear { backward, .. } => {
                            let finish = Finish { accumulate: is_there, ..Finish::default() };
                            backward.run(gradient, [1, 1], by_x, [1, 1], finish);
                        }
                        StepKind::MaxPool(_) | StepKind::GlobalAvgPool if !is_there => by_x.fill(0.0),
                        StepKind::MaxPool(_) | StepKind::GlobalAvgPool => {}
                    }
                    match kind {
                        StepKind::MaxPool(geometry) => {
                            pool::max_gradient(gradient, geometry, from, to, &trace.winners, by_x);
                        }
                        StepKind::GlobalAvgPool => pool::global_mean_gradient(gradient, from, by_x),
                        _ => {}
                    }
                }),
            }
            buffers[slot] = kept;
        }
    }
}
