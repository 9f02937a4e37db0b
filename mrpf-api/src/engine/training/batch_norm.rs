//! Batch norm by the batch, on `[pixel, channel]`.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::engine::finish::{ANYTHING, Finish, Piece};
use crate::engine::vector::load;

/// Numbers of a chunk that is summed by itself; it stays in the second-level cache.
const CHUNK: usize = 1 << 14;

/// Mean and biased variance of each channel.
pub(super) struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

/// Pixels of a chunk, and sums of it, `[quantity, channel]`.
fn in_chunks(
    pixels: usize,
    channels: usize,
    sums: impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync,
) -> Vec<(usize, Vec<f32>, Vec<f32>)> {
    let chunk = (CHUNK / channels).max(16);
    let firsts: Vec<usize> = (0..pixels).step_by(chunk).collect();
    let of_chunk = |first: usize| {
        let count = chunk.min(pixels - first);
        let (mut a, mut b) = (vec![0.0; channels], vec![0.0; channels]);
        sums(first, count, &mut a, &mut b);
        (count, a, b)
    };
    firsts.into_par_iter().map(of_chunk).collect()
}

/// Moments of `x`: those of each chunk, joined in f64 (Chan, Golub and LeVeque 1979).
pub(super) fn moments(x: &[f32], channels: usize) -> Moments {
    let chunks = in_chunks(x.len() / channels, channels, |first, count, mean, squares| {
        let x = &x[first * channels..][..count * channels];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for pixel in x.chunks_exact(channels) {
                    for (sum, x) in mean.iter_mut().zip(pixel) {
                        *sum += x;
                    }
                }
                for mean in mean.iter_mut() {
                    *mean /= count as f32;
                }
                for pixel in x.chunks_exact(channels) {
                    for ((sum, mean), x) in squares.iter_mut().zip(mean.iter()).zip(pixel) {
                        *sum += (x - mean) * (x - mean);
                    }
                }
            },
        );
    });
    let mut all = Moments { mean: vec![0.0; channels], variance: vec![0.0; channels] };
    let mut before = 0.0;
    for (count, mean, squares) in chunks {
        let (count, together) = (count as f64, before + count as f64);
        for channel in 0..channels {
            let apart = f64::from(mean[channel]) - all.mean[channel];
            all.mean[channel] += apart * count / together;
            all.variance[channel] += f64::from(squares[channel]) + apart * apart * before * count / together;
        }
        before = together;
    }
    all.variance.iter_mut().for_each(|squares| *squares /= before);
    all
}

/// Sums of the output's gradient, and of the gradient times `x - mean`, of each channel.
pub(super) fn gradient_sums(x: &[f32], gradient: &[f32], mean: &[f32]) -> [Vec<f64>; 2] {
    let channels = mean.len();
    let chunks = in_chunks(x.len() / channels, channels, |first, count, plain, with_x| {
        let [x, gradient] = [x, gradient].map(|values| &values[first * channels..][..count * channels]);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (x, gradient) in x.chunks_exact(channels).zip(gradient.chunks_exact(channels)) {
                    let sums = plain.iter_mut().zip(with_x.iter_mut());
                    for (((plain, with_x), mean), (x, gradient)) in sums.zip(mean).zip(x.iter().zip(gradient)) {
                        *plain += gradient;
                        *with_x += gradient * (x - mean);
                    }
                }
            },
        );
    });
    let mut sums = [vec![0.0; channels], vec![0.0; channels]];
    for (_, plain, with_x) in chunks {
        for (sums, chunk) in sums.iter_mut().zip([plain, with_x]) {
            sums.iter_mut().zip(chunk).for_each(|(sum, chunk)| *sum += f64::from(chunk));
        }
    }
    sums
}

/// `out = a * gradient + b * x + c` of each channel, finished.
pub(super) fn combine(x: &[f32], gradient: &[f32], [a, b, c]: [&[f32]; 3], out: &mut [f32], finish: Finish<'_>) {
    let channels = a.len();
    let pixels = CHUNK.div_ceil(channels);
    let starts: Vec<usize> = (0..out.len() / channels).step_by(pixels).collect();
    let jobs = finish.pieces(out, channels, &starts).into_par_iter();
    let jobs = jobs.zip(x.par_chunks(pixels * channels)).zip(gradient.par_chunks(pixels * channels));
    jobs.for_each(|((piece, x), gradient)| {
        Arch::new().dispatch(Combine { x, gradient, factors: [a, b, c], piece });
    });
}

struct Combine<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    factors: [&'a [f32]; 3],
    piece: Piece<'a>,
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let [a, b, c] = self.factors;
        let channels = a.len();
        for pixel in 0..self.x.len() / channels {
            for first in (0..channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(channels - first);
                let place = pixel * channels + first;
                let (x, gradient) = (load(simd, &self.x[place..], lanes), load(simd, &self.gradient[place..], lanes));
                let sum = simd.mul_add_e_f32s(load(simd, &b[first..], lanes), x, load(simd, &c[first..], lanes));
                let sum = simd.mul_add_e_f32s(load(simd, &a[first..], lanes), gradient, sum);
                let bias = self.piece.bias(simd, first, lanes);
                self.piece.put::<S, { ANYTHING }>(simd, pixel, first, lanes, sum, bias);
            }
        }
    }
}
