//! The way back through a plan on a GPU: what has come of the gradients by its values.

use std::sync::Arc;

use super::gpu::Argument::{Address, Float, Int, Long};
use super::gpu::{EIGHT, Grid};
use super::memory::DeviceBuffer;
use super::pass::{Values, activation, eights, groups};
use super::queue::Queue;
use crate::Result;
use crate::engine::plan::{Activation, Plan, Value};

/// The way back: what has come of the gradients by values that are not done with yet.
pub(super) struct Gradients<'a> {
    pub plan: &'a Plan,
    pub values: &'a Values,
    /// Which values' gradients are wanted at all.
    pub is_needed: &'a [bool],
    of: Vec<Vec<Arc<DeviceBuffer>>>,
}

impl<'a> Gradients<'a> {
    /// Begins with the gradient by the logits, `[batch, class]` in f32.
    pub fn new(
        queue: &Queue<'_>,
        plan: &'a Plan,
        values: &'a Values,
        is_needed: &'a [bool],
        by_logits: u64,
    ) -> Result<Self> {
        let to = plan.sizes[plan.output()];
        let start = values.take(queue, to)?;
        let count = eights(values.batch, to) * EIGHT;
        queue.launch(
            "by_logits",
            Grid::of(count),
            &[
                Address(by_logits),
                Address(start.address()),
                Float(queue.gpu.gradient_scale()),
                Int(to.channels as i32),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )?;
        let mut of: Vec<Vec<_>> = plan.sizes.iter().map(|_| Vec::new()).collect();
        of[plan.output()].push(start);
        Ok(Self { plan, values, is_needed, of })
    }

    /// The complete gradient by what a step computed before its activation; none if nothing came to it.
    pub fn of_step(&mut self, queue: &Queue<'_>, at: usize) -> Result<Option<Arc<DeviceBuffer>>> {
        let mut came = std::mem::take(&mut self.of[at + 1]).into_iter();
        let Some(mut sum) = came.next() else { return Ok(None) };
        let (to, ends) = (self.plan.sizes[at + 1], self.plan.steps[at].activation);
        let count = eights(self.values.batch, to);
        let mut y = match ends {
            Activation::None => 0,
            _ => self.values.address(at + 1),
        };
        let mut next = came.next();
        while next.is_some() || y != 0 {
            let out = if Arc::strong_count(&sum) == 1 { sum.clone() } else { self.values.take(queue, to)? };
            let after = came.next();
            // The activation stops what the whole sum does not get through.
            let stop = if after.is_none() { std::mem::take(&mut y) } else { 0 };
            let other = next.as_ref().map_or(0, |other| other.address());
            queue.launch(
                "activation_gradient",
                Grid::of(count),
                &[
                    Address(sum.address()),
                    Address(other),
                    Address(stop),
                    activation(ends),
                    Address(out.address()),
                    Long(count as i64),
                ],
            )?;
            (sum, next) = (out, after);
        }
        Ok(Some(sum))
    }

    /// Whether the gradient by anything that a step computes with is wanted.
    pub fn wants_operands(&self, at: usize) -> bool {
        self.plan.steps[at].operands().any(|operand| self.is_needed[operand])
    }

    /// Takes up a gradient by a value if that is wanted.
    pub fn add_if_needed(&mut self, value: Value, gradient: Arc<DeviceBuffer>) {
        if self.is_needed[value] {
            self.add(value, gradient);
        }
    }

    /// Takes up a gradient by a value.
    pub fn add(&mut self, value: Value, gradient: Arc<DeviceBuffer>) {
        self.of[value].push(gradient);
    }

    /// Gives a step's gradient to the value that was added before its activation.
    pub fn pass_on(&mut self, at: usize, gradient: Arc<DeviceBuffer>) {
        if let Some(other) = self.plan.steps[at].other.filter(|other| self.is_needed[*other]) {
            self.add(other, gradient);
        }
    }

    /// A linear layer's gradient by its input.
    pub fn linear_by_input(&mut self, queue: &Queue<'_>, at: usize, gradient: u64, weight: u64) -> Result<()> {
        let step = &self.plan.steps[at];
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let (by_x, count) = (self.values.take(queue, from)?, eights(self.values.batch, from) * EIGHT);
        queue.launch(
            "linear_by_input",
            Grid::of(count),
            &[
                Address(gradient),
                Address(weight),
                Address(by_x.address()),
                Int(from.channels as i32),
                Int(groups(from) as i32),
                Int(to.channels as i32),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )?;
        self.add(step.input, by_x);
        Ok(())
    }
}
