//! Steps without weights, forward and back; the same in evaluation and in training.

use std::sync::Arc;

use super::concat::concat;
use super::elementwise;
use super::finish::Finish;
use super::memory::{Buffer, Memory};
use super::pass::{Gradients, Kept};
use super::places::sum_places;
use super::plan::{Plan, Sizes, StepKind};
use super::pool;
use super::smooth::{smooth, times};
use crate::network::Attention;
use crate::numeric::kernel::AttentionRows;

/// What a step computes of its operands; finished where its kind can be. Gives what its way back needs.
pub(super) fn forward(
    plan: &Plan,
    memory: &Arc<Memory>,
    at: usize,
    operands: &[&[f32]],
    out: &mut [f32],
    finish: Finish<'_>,
) -> Kept {
    let step = &plan.steps[at];
    let (x, from, to) = (operands[0], plan.sizes[step.input], plan.sizes[at + 1]);
    match &step.kind {
        StepKind::Arrange { factor, offset } => elementwise::arrange(x, from, factor, offset, out),
        StepKind::Affine { factor, offset } => elementwise::affine(x, factor, Some(offset), out, finish),
        StepKind::MaxPool(geometry) => {
            let mut winners = vec![0; out.len()];
            pool::max(x, geometry, from, to, out, &mut winners);
            return Kept::Winners(winners);
        }
        StepKind::GlobalAvgPool => pool::global_mean(x, from, out),
        StepKind::Places { there, .. } => sum_places(x, there, from, to, out, finish),
        StepKind::Concat => {
            let widths = step.operands().map(|value| plan.sizes[value].channels);
            concat(&operands.iter().copied().zip(widths).collect::<Vec<_>>(), out);
        }
        StepKind::Flatten => elementwise::channels_first(x, from, out),
        StepKind::Smooth(kind) => {
            let mut slopes = memory.take(x.len());
            smooth(*kind, x, out, &mut slopes);
            return Kept::Numbers(vec![slopes]);
        }
        StepKind::Attention(attention) => {
            let rows = attention_rows(attention, from, to);
            rows.forward([operands[0], operands[1], operands[2]], out);
            return Kept::Numbers(operands.iter().map(|operand| memory.copy(operand)).collect());
        }
        _ => elementwise::pass(x, to.channels, out, finish),
    }
    Kept::Nothing
}

/// Takes the gradient from the step's value to its operands, as far as they are needed; not to the images, which lie otherwise.
pub(super) fn backward(plan: &Plan, at: usize, batch: usize, gradient: &Buffer, gradients: &mut Gradients<'_>) {
    let step = &plan.steps[at];
    let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
    let traces = gradients.traces;
    match (&step.kind, &traces[at].kept) {
        (StepKind::Affine { factor, .. }, _) => {
            gradients.add(at, batch, |by_x, finish| elementwise::affine(gradient, factor, None, by_x, finish));
        }
        (StepKind::MaxPool(geometry), Kept::Winners(winners)) => gradients.add_plainly(at, batch, |by_x| {
            pool::max_gradient(gradient, geometry, from, to, winners, by_x);
        }),
        (StepKind::GlobalAvgPool, _) => {
            gradients.add_plainly(at, batch, |by_x| pool::global_mean_gradient(gradient, from, by_x));
        }
        (StepKind::Places { back, .. }, _) => {
            gradients.add(at, batch, |by_x, finish| sum_places(gradient, back, to, from, by_x, finish));
        }
        (StepKind::Concat, _) => {
            let mut first = 0;
            for (place, value) in step.operands().enumerate() {
                let width = plan.sizes[value].channels;
                let part = elementwise::Part { of: to.channels, first, width };
                gradients.add_to(at, place, batch, |by_x, finish| elementwise::part(gradient, part, by_x, finish));
                first += width;
            }
        }
        (StepKind::Flatten, _) => {
            gradients.add_made(at, 0, batch, |by_x| elementwise::channels_last(gradient, from, by_x))
        }
        (StepKind::Smooth(_), Kept::Numbers(slopes)) => {
            gradients.add_made(at, 0, batch, |by_x| times(gradient, &slopes[0], by_x));
        }
        (StepKind::Attention(attention), Kept::Numbers(operands)) => {
            let rows = attention_rows(attention, from, to);
            let found = rows.backward([0, 1, 2].map(|place| &operands[place][..]), gradient, [true; 3]);
            for (place, found) in found.iter().enumerate() {
                gradients.add_made(at, place, batch, |by_x| by_x.copy_from_slice(found));
            }
        }
        _ => gradients.add(at, batch, |by_x, finish| elementwise::pass(gradient, to.channels, by_x, finish)),
    }
}

fn attention_rows(attention: &Attention, from: Sizes, to: Sizes) -> AttentionRows<f32> {
    AttentionRows::new(from.width, attention.heads, [from.channels, to.channels], attention.scale)
}
