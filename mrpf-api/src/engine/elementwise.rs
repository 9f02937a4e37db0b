//! Everything that treats each value, or each pixel, by itself.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::finish::{ANYTHING, Finish, Piece};
use super::plan::Sizes;
use super::vector::{self, load, mask_bytes, read_bits, store};

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

/// Rows and columns of a block that is turned at once, so that whole cache lines are read and written.
const BLOCK: usize = 16;

/// `[channel, pixel]` to `[pixel, channel]` in each image.
pub(super) fn channels_last(maps: &[f32], sizes: Sizes, out: &mut [f32]) {
    turn(maps, [sizes.channels, sizes.pixels()], out);
}

/// `[pixel, channel]` to `[channel, pixel]` in each image.
pub(super) fn channels_first(x: &[f32], sizes: Sizes, out: &mut [f32]) {
    turn(x, [sizes.pixels(), sizes.channels], out);
}

/// Matrices `[rows, columns]` to `[columns, rows]`.
fn turn(from: &[f32], [rows, columns]: [usize; 2], out: &mut [f32]) {
    let strip = BLOCK * rows;
    for (from, out) in from.chunks_exact(rows * columns).zip(out.chunks_exact_mut(rows * columns)) {
        out.par_chunks_mut(strip).enumerate().for_each(|(at, out)| {
            let (first, count) = (at * BLOCK, out.len() / rows);
            for row in (0..rows).step_by(BLOCK) {
                let rows_here = BLOCK.min(rows - row);
                for column in 0..count {
                    let to = &mut out[column * rows + row..][..rows_here];
                    let from = from[row * columns + first + column..].iter().step_by(columns);
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        });
    }
}

/// `x * factor + offset` of each channel, finished.
pub(super) fn affine(x: &[f32], factor: &[f32], offset: Option<&[f32]>, out: &mut [f32], finish: Finish<'_>) {
    let all = Part { of: factor.len(), first: 0, width: factor.len() };
    in_pieces(x, Some(Scale { factor, offset }), all, out, finish);
}

/// Copies `x` and finishes it.
pub(super) fn pass(x: &[f32], channels: usize, out: &mut [f32], finish: Finish<'_>) {
    in_pieces(x, None, Part { of: channels, first: 0, width: channels }, out, finish);
}

/// Some of the channels of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// All channels.
    pub of: usize,
    pub first: usize,
    pub width: usize,
}

/// Copies a part of the channels of `x` and finishes it.
pub(super) fn part(x: &[f32], part: Part, out: &mut [f32], finish: Finish<'_>) {
    in_pieces(x, None, part, out, finish);
}

fn in_pieces(x: &[f32], scale: Option<Scale<'_>>, part: Part, out: &mut [f32], finish: Finish<'_>) {
    let channels = part.width;
    let pixels = PIECE.div_ceil(channels);
    let starts: Vec<usize> = (0..out.len() / channels).step_by(pixels).collect();
    let pieces = finish.pieces(out, channels, &starts);
    let jobs = pieces.into_par_iter().zip(x.par_chunks(pixels * part.of));
    jobs.for_each(|(piece, x)| Arch::new().dispatch(Elementwise { x, part, scale, piece }));
}

#[derive(Clone, Copy)]
struct Scale<'a> {
    factor: &'a [f32],
    offset: Option<&'a [f32]>,
}

struct Elementwise<'a> {
    x: &'a [f32],
    part: Part,
    scale: Option<Scale<'a>>,
    piece: Piece<'a>,
}

impl WithSimd for Elementwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Part { of, first: part, width } = self.part;
        for pixel in 0..self.x.len() / of {
            for first in (0..width).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(width - first);
                let mut x = load(simd, &self.x[pixel * of + part + first..], lanes);
                if let Some(Scale { factor, offset }) = self.scale {
                    let factor = load(simd, &factor[first..], lanes);
                    x = match offset {
                        Some(offset) => simd.mul_add_e_f32s(x, factor, load(simd, &offset[first..], lanes)),
                        None => simd.mul_f32s(x, factor),
                    };
                }
                let bias = self.piece.bias(simd, first, lanes);
                self.piece.put::<S, { ANYTHING }>(simd, pixel, first, lanes, x, bias);
            }
        }
    }
}

/// Adds `x`.
pub(super) fn add(x: &[f32], out: &mut [f32]) {
    out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(x) {
                    *out += x;
                }
            },
        );
    });
}

/// Clears the gradient of values that a ReLU stopped.
pub(super) fn through_relu(gradient: &mut [f32], channels: usize, mask: &[u8]) {
    let pixels = PIECE.div_ceil(channels);
    let pieces = gradient.par_chunks_mut(pixels * channels).zip(mask.par_chunks(pixels * mask_bytes(channels)));
    pieces.for_each(|(gradient, mask)| Arch::new().dispatch(ThroughRelu { gradient, channels, mask }));
}

struct ThroughRelu<'a> {
    gradient: &'a mut [f32],
    channels: usize,
    mask: &'a [u8],
}

impl WithSimd for ThroughRelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let pixels =
            self.gradient.chunks_exact_mut(self.channels).zip(self.mask.chunks_exact(mask_bytes(self.channels)));
        for (gradient, mask) in pixels {
            for first in (0..self.channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(self.channels - first);
                let passed = vector::pass(simd, load(simd, &gradient[first..], lanes), read_bits(mask, first, lanes));
                store(simd, &mut gradient[first..], passed, lanes);
            }
        }
    }
}
