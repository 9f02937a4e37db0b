//! Depthwise convolutions, by kernels of our own: there is nothing in them for tensor cores, and each value is read and written once.

use super::gpu::Argument::{self, Address, Float, Int, Long};
use super::gpu::{EIGHT, Grid};
use super::pass::{Values, activation, eights, groups, window};
use super::queue::Queue;
use super::rows::Rows;
use crate::Result;
use crate::engine::plan::{Plan, Sizes, Step};
use crate::network::Conv2d;

/// Taps of which one launch gives the gradients: as in the kernel.
const TAPS: usize = 9;

/// A depthwise convolution of a step.
pub(super) struct Depthwise<'a> {
    step: &'a Step,
    batch: usize,
    from: Sizes,
    to: Sizes,
    taps: usize,
    window: Argument,
}

impl<'a> Depthwise<'a> {
    pub fn new(plan: &'a Plan, at: usize, batch: usize, conv: &Conv2d) -> Self {
        let step = &plan.steps[at];
        let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
        let geometry = &conv.geometry;
        let window = window(geometry.kernel, geometry.stride, geometry.padding, [from, to]);
        Self { step, batch, from, to, taps: geometry.kernel.iter().product(), window }
    }

    /// With bias, `other` and activation.
    pub fn forward(&self, queue: &Queue<'_>, values: &Values, [filters, bias, y]: [u64; 3]) -> Result<()> {
        let count = eights(self.batch, self.to);
        queue.launch(
            "depthwise",
            Grid::of(count),
            &[
                Address(values.address(self.step.input)),
                Address(filters),
                Address(bias),
                Address(self.step.other.map_or(0, |other| values.address(other))),
                activation(self.step.activation),
                Address(y),
                self.window,
                Int(groups(self.to) as i32),
                Long(count as i64),
            ],
        )
    }

    pub fn by_input(&self, queue: &Queue<'_>, [gradient, filters, by_x]: [u64; 3]) -> Result<()> {
        let count = eights(self.batch, self.from);
        queue.launch(
            "depthwise_by_input",
            Grid::of(count),
            &[
                Address(gradient),
                Address(filters),
                Address(by_x),
                self.window,
                Int(groups(self.to) as i32),
                Long(count as i64),
            ],
        )
    }

    /// The gradient by the filters, `[channel, tap]` in f32.
    pub fn by_weight(&self, queue: &Queue<'_>, values: &Values, [x, gradient, out]: [u64; 3]) -> Result<()> {
        let rows = Rows::of(self.batch, self.to);
        let partial = values.floats(queue, rows.blocks * self.taps * rows.groups * EIGHT)?;
        for first in (0..self.taps).step_by(TAPS) {
            queue.launch(
                "depthwise_by_weight",
                rows.grid(),
                &[
                    Address(x),
                    Address(gradient),
                    Address(partial.address()),
                    self.window,
                    Int(first as i32),
                    Long(rows.rows as i64),
                    Int(rows.of_block as i32),
                    Int(rows.width as i32),
                    Int(rows.groups as i32),
                ],
            )?;
        }
        let count = self.to.channels * self.taps;
        queue.launch(
            "depthwise_weight_finish",
            Grid::of(count),
            &[
                Address(partial.address()),
                Int(rows.blocks as i32),
                Float(1.0 / queue.gpu.gradient_scale()),
                Address(out),
                Int(self.taps as i32),
                Int(rows.groups as i32),
                Long(count as i64),
            ],
        )
    }
}
