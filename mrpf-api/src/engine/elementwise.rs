//! Everything that treats each value, or each pixel, by itself.

use pulp::Arch;
use rayon::prelude::*;

use super::finish::{Finish, add, relu_gradient};
use super::plan::Sizes;

/// Values that one thread takes at a time.
const PIECE: usize = 1 << 14;

/// `[channel, pixel]` to `[pixel, channel]` in each image, times `factor` plus `offset` of each channel.
pub(super) fn arrange(x: &[f32], sizes: Sizes, factor: &[f32], offset: &[f32], out: &mut [f32]) {
    let images = out.par_chunks_mut(sizes.len()).zip(x.par_chunks(sizes.len()));
    images.for_each(|(out, x)| {
        for (channel, map) in x.chunks_exact(sizes.pixels()).enumerate() {
            let (factor, offset) = (factor[channel], offset[channel]);
            let to = out[channel..].iter_mut().step_by(sizes.channels);
            to.zip(map).for_each(|(to, value)| *to = value * factor + offset);
        }
    });
}

/// The way back: `[pixel, channel]` to `[channel, pixel]`, times `factor`, added to `by_x`.
pub(super) fn arrange_gradient(gradient: &[f32], sizes: Sizes, factor: &[f32], by_x: &mut [f32]) {
    let images = by_x.par_chunks_mut(sizes.len()).zip(gradient.par_chunks(sizes.len()));
    images.for_each(|(by_x, gradient)| {
        for (channel, map) in by_x.chunks_exact_mut(sizes.pixels()).enumerate() {
            let from = gradient[channel..].iter().step_by(sizes.channels);
            map.iter_mut().zip(from).for_each(|(to, value)| *to += value * factor[channel]);
        }
    });
}

/// `x * factor + offset` of each channel.
pub(super) fn affine(x: &[f32], factor: &[f32], offset: Option<&[f32]>, out: &mut [f32], accumulate: bool) {
    let channels = factor.len();
    let piece = PIECE.div_ceil(channels) * channels;
    out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    for (at, (out, x)) in out.iter_mut().zip(x).enumerate() {
                        let value = x * factor[at] + offset.map_or(0.0, |offset| offset[at]);
                        *out = if accumulate { *out + value } else { value };
                    }
                }
            },
        );
    });
}

/// Copies `x` and finishes it.
pub(super) fn pass(x: &[f32], channels: usize, out: &mut [f32], finish: Finish<'_>) {
    let pixels = PIECE.div_ceil(channels);
    let starts: Vec<usize> = (0..out.len() / channels).step_by(pixels).collect();
    let pieces = finish.pieces(out, channels, starts);
    pieces.into_par_iter().zip(x.par_chunks(pixels * channels)).for_each(|(piece, x)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                piece.out.copy_from_slice(x);
                piece.finish(channels);
            },
        );
    });
}

/// Writes, or adds, `x`.
pub(super) fn put(x: &[f32], out: &mut [f32], accumulate: bool) {
    out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| match accumulate {
        true => Arch::new().dispatch(
            #[inline(always)]
            || add(out, x),
        ),
        false => out.copy_from_slice(x),
    });
}

/// Clears the gradient of values that a ReLU stopped.
pub(super) fn through_relu(gradient: &mut [f32], channels: usize, mask: &[u8]) {
    let pixels = PIECE.div_ceil(channels);
    let pieces = gradient.par_chunks_mut(pixels * channels);
    pieces.zip(mask.par_chunks(pixels * super::finish::mask_bytes(channels))).for_each(|(gradient, mask)| {
        Arch::new().dispatch(
            #[inline(always)]
            || relu_gradient(gradient, channels, mask),
        );
    });
}
