//! Pooling of `[height, width, channel]`.

use rayon::prelude::*;

use super::plan::Sizes;
use crate::numeric::PoolGeometry;

/// The pixel of the input that a window has at a tap; none in the padding.
#[inline(always)]
fn place(geometry: &PoolGeometry, from: Sizes, [row, column]: [usize; 2], tap: usize) -> Option<usize> {
    let PoolGeometry { kernel, stride, padding } = *geometry;
    let y = (row * stride[0] + tap / kernel[1]).checked_sub(padding[0]).filter(|y| *y < from.height)?;
    let x = (column * stride[1] + tap % kernel[1]).checked_sub(padding[1]).filter(|x| *x < from.width)?;
    Some(y * from.width + x)
}

/// Largest value of each window; `winners` takes the tap of each. The first of equal values wins, and what is not a number.
pub(super) fn max(x: &[f32], geometry: &PoolGeometry, from: Sizes, to: Sizes, out: &mut [f32], winners: &mut [u16]) {
    let images = out.par_chunks_mut(to.len()).zip(winners.par_chunks_mut(to.len())).zip(x.par_chunks(from.len()));
    images.for_each(|((out, winners), x)| {
        let pixels = out.chunks_exact_mut(to.channels).zip(winners.chunks_exact_mut(to.channels));
        for (pixel, (out, winners)) in pixels.enumerate() {
            out.fill(f32::NEG_INFINITY);
            let mut is_first = true;
            for tap in 0..geometry.kernel[0] * geometry.kernel[1] {
                let Some(place) = place(geometry, from, [pixel / to.width, pixel % to.width], tap) else { continue };
                let x = &x[place * from.channels..][..from.channels];
                for ((out, winner), x) in out.iter_mut().zip(winners.iter_mut()).zip(x) {
                    if is_first || *x > *out || (x.is_nan() && !out.is_nan()) {
                        (*out, *winner) = (*x, tap as u16);
                    }
                }
                is_first = false;
            }
        }
    });
}

/// Adds each window's gradient to the pixel that won it.
pub(super) fn max_gradient(
    gradient: &[f32],
    geometry: &PoolGeometry,
    from: Sizes,
    to: Sizes,
    winners: &[u16],
    by_x: &mut [f32],
) {
    let images = by_x.par_chunks_mut(from.len()).zip(gradient.par_chunks(to.len())).zip(winners.par_chunks(to.len()));
    images.for_each(|((by_x, gradient), winners)| {
        for (at, (gradient, winner)) in gradient.iter().zip(winners).enumerate() {
            let (pixel, channel) = (at / to.channels, at % to.channels);
            let window = [pixel / to.width, pixel % to.width];
            if let Some(place) = place(geometry, from, window, usize::from(*winner)) {
                by_x[place * from.channels + channel] += gradient;
            }
        }
    });
}

/// Mean over all pixels.
pub(super) fn global_mean(x: &[f32], from: Sizes, out: &mut [f32]) {
    let share = 1.0 / from.pixels() as f32;
    out.par_chunks_mut(from.channels).zip(x.par_chunks(from.len())).for_each(|(out, x)| {
        out.fill(0.0);
        for pixel in x.chunks_exact(from.channels) {
            out.iter_mut().zip(pixel).for_each(|(out, x)| *out += x);
        }
        out.iter_mut().for_each(|out| *out *= share);
    });
}

/// Adds to every pixel its share of the gradient.
pub(super) fn global_mean_gradient(gradient: &[f32], from: Sizes, by_x: &mut [f32]) {
    let share = 1.0 / from.pixels() as f32;
    by_x.par_chunks_mut(from.len()).zip(gradient.par_chunks(from.channels)).for_each(|(by_x, gradient)| {
        for pixel in by_x.chunks_exact_mut(from.channels) {
            pixel.iter_mut().zip(gradient).for_each(|(to, gradient)| *to += gradient * share);
        }
    });
}
