//! The nearest point of an L1 ball cut with the valid range.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::Result;
use crate::numeric::InF64;

/// Shortens `change` so that `clean + change` is the nearest point to where it was whose L1 distance from `clean` is at most
/// `epsilon` and whose values are in [0, 1]; `clean` itself is in [0, 1].
///
/// Every part of the change loses the same amount, stops at zero, and is cut where it would leave the range (Croce & Hein 2021,
/// arXiv 2103.01208, proposition 2.2; the same point as `L1_projection` of their code, which finds the amount by bisection).
pub fn project_l1(clean: &[f64], change: &mut [f64], epsilon: f64) {
    let room = |at: usize, change: f64| if change > 0.0 { 1.0 - clean[at] } else { clean[at] };
    let total: f64 = change.iter().enumerate().map(|(at, &change)| change.abs().min(room(at, change))).sum();
    let amount = if total > epsilon { amount_to_lose(change, room, total - epsilon) } else { 0.0 };
    for (at, change) in change.iter_mut().enumerate() {
        *change = change.signum() * (change.abs() - amount).min(room(at, *change)).max(0.0);
    }
}

/// By how much every part must be shortened for the sum of their lengths, cut to the room that each has, to fall by `excess`.
///
/// That sum falls along straight pieces: a part takes part from when it comes down to its room until it is used up.
fn amount_to_lose(change: &[f64], room: impl Fn(usize, f64) -> f64, excess: f64) -> f64 {
    let mut turns = Vec::with_capacity(2 * change.len());
    for (at, &change) in change.iter().enumerate().filter(|(_, change)| **change != 0.0) {
        let length = change.abs();
        let room = room(at, change);
        if room > 0.0 {
            turns.push(((length - room).max(0.0), 1.0));
            turns.push((length, -1.0));
        }
    }
    turns.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut at, mut slope, mut fallen) = (0.0, 0.0, 0.0);
    for (next, turn) in turns {
        let falls = slope * (next - at);
        if fallen + falls >= excess {
            break;
        }
        (at, fallen, slope) = (next, fallen + falls, slope + turn);
    }
    // The slope is a count: above 0 wherever anything is left to lose.
    if slope > 0.0 { at + (excess - fallen) / slope } else { at }
}

/// [`project_l1`] for every image; both `[batch, channel, height, width]`.
pub(super) fn project_all_l1(clean: &Tensor, images: &Tensor, epsilon: f64) -> Result<Tensor> {
    let numbers = |tensor: &Tensor| -> Result<Vec<f64>> { Ok(tensor.in_f64()?.flatten_all()?.to_vec1()?) };
    let (center, mut change) = (numbers(clean)?, numbers(&(images - clean)?)?);
    let each = (clean.elem_count() / clean.dim(0)?.max(1)).max(1);
    change.par_chunks_mut(each).zip(center.par_chunks(each)).for_each(|(change, clean)| {
        project_l1(clean, change, epsilon);
    });
    let change = Tensor::from_vec(change, clean.shape(), &Device::Cpu)?;
    Ok((clean + change.to_dtype(clean.dtype())?.to_device(clean.device())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No feasible point is nearer: the nearest point is the one that no direction to a feasible point leads away from.
        #[test]
        fn the_projection_is_the_nearest_feasible_point(
            parts in prop::collection::vec((0.0..=1.0f64, -2.0..2.0f64, 0.0..=1.0f64), 1..20),
            epsilon in 0.0..4.0f64,
        ) {
            let clean: Vec<f64> = parts.iter().map(|part| part.0).collect();
            let wanted: Vec<f64> = parts.iter().map(|part| part.1).collect();
            let mut found = wanted.clone();
            project_l1(&clean, &mut found, epsilon);
            let length: f64 = found.iter().map(|change| change.abs()).sum();
            prop_assert!(length <= epsilon + 1e-9);
            prop_assert!(clean.iter().zip(&found).all(|(clean, change)| (-1e-12..=1.0 + 1e-12).contains(&(clean + change))));

            let mut other: Vec<f64> = parts.iter().map(|part| part.2 - part.0).collect();
            let reach: f64 = other.iter().map(|change| change.abs()).sum();
            let factor = (epsilon / reach.max(1e-12)).min(1.0);
            other.iter_mut().for_each(|change| *change *= factor);
            let leads_away: f64 =
                (0..parts.len()).map(|at| (wanted[at] - found[at]) * (other[at] - found[at])).sum();
            prop_assert!(leads_away <= 1e-9, "{leads_away}");
        }
    }
}
