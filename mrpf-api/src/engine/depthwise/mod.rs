//! Convolutions whose filters read one channel each, their own, and their gradients, on values with the channels last.
//!
//! Forward and back to the input are one and the same: a pixel of the target is a sum of pixels of the source, each times a weight of
//! its own for every channel. Which pixels by which taps is known for rows and columns by themselves.

#[cfg(test)]
mod tests;
mod weight_gradient;

pub(super) use weight_gradient::weight_gradient;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

use super::convolution::Shape;
use super::finish::{self, Finish, Piece};
use super::vector::load;

/// Numbers of the target that one thread takes at a time, at least.
const PIECE: usize = 1 << 13;

/// From a source `[height, width, channel]` to a target of as many channels.
#[derive(Debug)]
pub(super) struct Depthwise {
    channels: usize,
    /// What reaches each row and each column of the target.
    rows: Vec<Vec<Reach>>,
    columns: Vec<Vec<Reach>>,
    /// Columns that every tap reaches, from one pixel of the source after the other.
    whole: Range<usize>,
    taps: [usize; 2],
    /// `[tap, channel]`.
    weight: Vec<f32>,
}

/// A row or column of the source, and the row or column of the kernel by which it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    tap: usize,
    source: usize,
}

/// What reaches each place of the output along an axis.
fn forward_reach(shape: &Shape, axis: usize) -> Vec<Vec<Reach>> {
    let [kernel, stride, padding] =
        [shape.geometry.kernel, shape.geometry.stride, shape.geometry.padding].map(|of| of[axis]);
    let reach =
        |at: usize, tap: usize| (at * stride + tap).checked_sub(padding).filter(|source| *source < shape.size[axis]);
    let of_place = |at| (0..kernel).filter_map(move |tap| Some(Reach { tap, source: reach(at, tap)? })).collect();
    (0..shape.out_size[axis]).map(of_place).collect()
}

impl Depthwise {
    /// The convolution itself, with a weight `[channel, 1, kernel height, kernel width]`.
    pub fn forward(shape: &Shape, weight: &[f32]) -> Self {
        Self::new(shape, weight, [0, 1].map(|axis| forward_reach(shape, axis)))
    }

    /// From the output's gradient to the input's.
    pub fn backward(shape: &Shape, weight: &[f32]) -> Self {
        let back = |axis: usize| {
            let mut back = vec![Vec::new(); shape.size[axis]];
            for (place, reaches) in forward_reach(shape, axis).into_iter().enumerate() {
                reaches.into_iter().for_each(|Reach { tap, source }| back[source].push(Reach { tap, source: place }));
            }
            back
        };
        Self::new(shape, weight, [0, 1].map(back))
    }

    fn new(shape: &Shape, weight: &[f32], [rows, columns]: [Vec<Vec<Reach>>; 2]) -> Self {
        let (channels, taps) = (shape.outputs, shape.geometry.kernel);
        let count = taps[0] * taps[1];
        let weight = (0..count * channels).map(|at| weight[at % channels * count + at / channels]).collect();
        let follows = |reaches: &Vec<Reach>| {
            reaches.len() == taps[1] && reaches.windows(2).all(|two| two[0].source + 1 == two[1].source)
        };
        let first = columns.iter().position(follows).unwrap_or(0);
        let whole = first..first + columns[first..].iter().take_while(|reaches| follows(reaches)).count();
        Self { channels, rows, columns, whole, taps, weight }
    }

    /// Size of the filters.
    pub fn bytes(&self) -> usize {
        4 * self.weight.len()
    }

    /// Fills `out` `[batch, target height, target width, channel]` from `x`, whose maps are `size`.
    pub fn run(&self, x: &[f32], size: [usize; 2], out: &mut [f32], finish: Finish<'_>) {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let batch = out.len() / (rows * columns * self.channels);
        let together = PIECE.div_ceil(columns * self.channels).min(rows);
        let firsts: Vec<[usize; 2]> =
            (0..batch).flat_map(|image| (0..rows).step_by(together).map(move |row| [image, row])).collect();
        let starts: Vec<usize> = firsts.iter().map(|[image, row]| (image * rows + row) * columns).collect();
        let of_image = size[0] * size[1] * self.channels;
        let jobs = firsts.into_par_iter().zip(finish.pieces(out, self.channels, &starts));
        jobs.for_each(|([image, first], piece)| {
            let x = &x[image * of_image..][..of_image];
            let rows = &self.rows[first..rows.min(first + together)];
            Arch::new().dispatch(Run { of: self, x, width: size[1], rows, piece });
        });
    }
}

/// A row of the target, and channels.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    first: usize,
    lanes: usize,
}

/// Some rows of the target of one image.
struct Run<'a> {
    of: &'a Depthwise,
    x: &'a [f32],
    width: usize,
    rows: &'a [Vec<Reach>],
    piece: Piece<'a>,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.piece.kind() {
            finish::NOTHING => self.run::<S, { finish::NOTHING }>(simd),
            finish::BIAS_RELU6 => self.run::<S, { finish::BIAS_RELU6 }>(simd),
            finish::PASSED => self.run::<S, { finish::PASSED }>(simd),
            _ => self.run::<S, { finish::ANYTHING }>(simd),
        }
    }
}

impl Run<'_> {
    #[inline(always)]
    fn run<S: Simd, const KIND: u8>(mut self, simd: S) {
        let (channels, columns) = (self.of.channels, self.of.columns.len());
        let whole = match self.of.taps {
            [3, 3] => self.of.whole.clone(),
            _ => 0..0,
        };
        for (row, above) in self.rows.iter().enumerate() {
            for first in (0..channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(channels - first);
                let place = Place { row, first, lanes };
                self.any::<S, KIND>(simd, above, place, 0..whole.start);
                match above[..] {
                    [a] => self.threes::<S, KIND, 1>(simd, [a], place, whole.clone()),
                    [a, b] => self.threes::<S, KIND, 2>(simd, [a, b], place, whole.clone()),
                    [a, b, c] => self.threes::<S, KIND, 3>(simd, [a, b, c], place, whole.clone()),
                    _ => self.any::<S, KIND>(simd, above, place, whole.clone()),
                }
                self.any::<S, KIND>(simd, above, place, whole.end..columns);
            }
        }
    }

    /// Columns that are reached by three taps side by side; the weights stay in registers.
    #[inline(always)]
    fn threes<S: Simd, const KIND: u8, const ROWS: usize>(
        &mut self,
        simd: S,
        above: [Reach; ROWS],
        Place { row, first, lanes }: Place,
        columns: Range<usize>,
    ) {
        let channels = self.of.channels;
        let row_of = |down: Reach| &self.x[down.source * self.width * channels..][..self.width * channels];
        let (x, bias) = (above.map(row_of), self.piece.bias(simd, first, lanes));
        let Some(beside) = self.of.columns[columns.clone()].first() else { return };
        let weights = above.map(|down| {
            let weight = |at: usize| &self.of.weight[(down.tap * 3 + beside[at].tap) * channels + first..];
            [0, 1, 2].map(|at| load(simd, weight(at), lanes))
        });
        for column in columns {
            let source = self.of.columns[column][0].source * channels + first;
            let mut sum = simd.splat_f32s(0.0);
            for (x, weights) in x.iter().zip(&weights) {
                let x = &x[source..];
                for (tap, weight) in weights.iter().enumerate() {
                    sum = simd.mul_add_e_f32s(load(simd, &x[tap * channels..], lanes), *weight, sum);
                }
            }
            self.piece.put::<S, KIND>(simd, row * self.of.columns.len() + column, first, lanes, sum, bias);
        }
    }

    #[inline(always)]
    fn any<S: Simd, const KIND: u8>(
        &mut self,
        simd: S,
        above: &[Reach],
        Place { row, first, lanes }: Place,
        columns: Range<usize>,
    ) {
        let Depthwise { channels, taps: [_, across], weight, .. } = self.of;
        let bias = self.piece.bias(simd, first, lanes);
        for column in columns {
            let mut sum = simd.splat_f32s(0.0);
            for down in above {
                let x = &self.x[down.source * self.width * channels..][..self.width * channels];
                let weight = &weight[down.tap * across * channels..][..across * channels];
                for right in &self.of.columns[column] {
                    let x = load(simd, &x[right.source * channels + first..], lanes);
                    let weight = load(simd, &weight[right.tap * channels + first..], lanes);
                    sum = simd.mul_add_e_f32s(x, weight, sum);
                }
            }
            self.piece.put::<S, KIND>(simd, row * self.of.columns.len() + column, first, lanes, sum, bias);
        }
    }
}
