//! Layer norm of a step (Ba, Kiros and Hinton 2016, equation 3).

use super::gpu::Argument::{Address, Float, Int, Long};
use super::gpu::{EIGHT, Grid};
use super::pass::{Values, groups};
use super::queue::Queue;
use super::rows::Rows;
use crate::Result;
use crate::engine::plan::{Plan, Sizes};
use crate::network::LayerKind;

/// A step that is a layer norm.
pub(super) struct LayerNormStep {
    at: usize,
    input: usize,
    sizes: Sizes,
    rows: usize,
    epsilon: f64,
}

impl LayerNormStep {
    pub fn new(plan: &Plan, at: usize, batch: usize, kind: &LayerKind) -> Self {
        let epsilon = match kind {
            LayerKind::LayerNorm(norm) => norm.epsilon,
            _ => 0.0,
        };
        let sizes = plan.sizes[at + 1];
        Self { at, input: plan.steps[at].input, sizes, rows: batch * sizes.pixels(), epsilon }
    }

    pub fn forward(&self, queue: &Queue<'_>, values: &mut Values, [scale, shift, y]: [u64; 3]) -> Result<()> {
        let moments = values.keep(queue, self.at, 2 * self.rows * size_of::<f32>())?;
        queue.launch(
            "layer_norm",
            Grid::of_warps(self.rows),
            &[
                Address(values.address(self.input)),
                Address(scale),
                Address(shift),
                Float(self.epsilon as f32),
                Address(y),
                Address(moments),
                Int(self.sizes.channels as i32),
                Int(groups(self.sizes) as i32),
                Long(self.rows as i64),
            ],
        )
    }

    pub fn by_input(&self, queue: &Queue<'_>, values: &Values, [gradient, scale, by_x]: [u64; 3]) -> Result<()> {
        queue.launch(
            "layer_norm_by_input",
            Grid::of_warps(self.rows),
            &[
                Address(values.address(self.input)),
                Address(gradient),
                Address(scale),
                Address(values.kept(self.at)),
                Address(by_x),
                Int(self.sizes.channels as i32),
                Int(groups(self.sizes) as i32),
                Long(self.rows as i64),
            ],
        )
    }

    /// The gradients by scale and shift, in f32; one that is not wanted is written to a place that nobody reads.
    pub fn by_weights(
        &self,
        queue: &Queue<'_>,
        values: &Values,
        [gradient, by_scale, by_shift]: [u64; 3],
    ) -> Result<()> {
        if by_scale == 0 && by_shift == 0 {
            return Ok(());
        }
        let rows = Rows::of(values.batch, self.sizes);
        let partial = values.floats(queue, rows.partial())?;
        rows.sum(
            queue,
            "layer_norm_sums",
            &[values.address(self.input), gradient, values.kept(self.at), partial.address()],
        )?;
        let unread = values.floats(queue, rows.groups * EIGHT)?;
        let place = |wanted: u64| Address(if wanted == 0 { unread.address() } else { wanted });
        queue.launch(
            "layer_norm_finish",
            Grid::of(self.sizes.channels),
            &[
                Address(partial.address()),
                Int(rows.blocks as i32),
                Float(1.0 / queue.gpu.gradient_scale()),
                place(by_scale),
                place(by_shift),
                Int(rows.groups as i32),
                Long(self.sizes.channels as i64),
            ],
        )
    }
}
