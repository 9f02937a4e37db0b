//! Attention of a step, by kernels of our own: a network for small images has few tokens, and narrow heads.

use super::gpu::Argument::{Address, Heads as Sizes, Long};
use super::gpu::{Grid, Heads};
use super::gradients::Gradients;
use super::pass::{Values, groups};
use super::queue::Queue;
use crate::Result;
use crate::engine::plan::{Plan, Value};
use crate::network::Attention;

/// A step that is an attention.
pub(super) struct AttentionStep<'a> {
    plan: &'a Plan,
    at: usize,
    /// Queries, keys and values.
    operands: [Value; 3],
    heads: Heads,
    sequences: usize,
}

impl<'a> AttentionStep<'a> {
    pub fn new(attention: &Attention, plan: &'a Plan, at: usize) -> Self {
        let step = &plan.steps[at];
        let operands = [step.input, step.more[0], step.more[1]];
        let (queries, values) = (plan.sizes[operands[0]], plan.sizes[operands[2]]);
        let width = |channels: usize| (channels / attention.heads) as i32;
        let heads = Heads {
            tokens: queries.width as i32,
            heads: attention.heads as i32,
            widths: [width(queries.channels), width(values.channels)],
            groups: [groups(queries) as i32, groups(values) as i32],
            scale: attention.scale as f32,
        };
        Self { plan, at, operands, heads, sequences: queries.height }
    }

    /// A warp for each token of each head.
    fn warps(&self, batch: usize) -> usize {
        batch * self.sequences * (self.heads.heads * self.heads.tokens) as usize
    }

    pub fn forward(&self, queue: &Queue<'_>, values: &mut Values, y: u64) -> Result<()> {
        let warps = self.warps(values.batch);
        let kept = values.keep(queue, self.at, warps * size_of::<f32>())?;
        let [queries, keys, of_values] = self.operands.map(|operand| Address(values.address(operand)));
        queue.launch(
            "attention",
            Grid::of_warps(warps),
            &[queries, keys, of_values, Address(y), Address(kept), Sizes(self.heads), Long(warps as i64)],
        )
    }

    pub fn backward(&self, queue: &Queue<'_>, gradients: &mut Gradients<'_>, gradient: u64) -> Result<()> {
        let values = gradients.values;
        let warps = self.warps(values.batch);
        let [queries, keys, of_values] = self.operands.map(|operand| Address(values.address(operand)));
        let (y, kept) = (Address(values.address(self.at + 1)), Address(values.kept(self.at)));
        let along = values.floats(queue, warps)?;
        let found = self.operands.map(|operand| values.take(queue, self.plan.sizes[operand]));
        let [by_queries, by_keys, by_values] = found;
        let (by_queries, by_keys, by_values) = (by_queries?, by_keys?, by_values?);
        let (gradient, along) = (Address(gradient), Address(along.address()));
        let (sizes, count, grid) = (Sizes(self.heads), Long(warps as i64), Grid::of_warps(warps));
        queue.launch(
            "attention_by_queries",
            grid,
            &[queries, keys, of_values, y, gradient, kept, along, Address(by_queries.address()), sizes, count],
        )?;
        let out = [Address(by_keys.address()), Address(by_values.address())];
        queue.launch(
            "attention_by_keys",
            grid,
            &[queries, keys, of_values, gradient, kept, along, out[0], out[1], sizes, count],
        )?;
        for (operand, found) in self.operands.into_iter().zip([by_queries, by_keys, by_values]) {
            gradients.add_if_needed(operand, found);
        }
        Ok(())
    }
}
