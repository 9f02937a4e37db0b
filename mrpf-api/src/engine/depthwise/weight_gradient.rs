//! The gradient by the weight of a convolution whose filters read one channel each.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Reach, forward_reach};
use crate::engine::convolution::Shape;
use crate::engine::vector::{load, store};

/// Gradient `[channel, 1, kernel height, kernel width]` by the weight, from `x` `[batch, height, width, channel]` and the output's
/// gradient: of each image in f32, added up in f64 in their order.
pub(in crate::engine) fn weight_gradient(shape: &Shape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (channels, taps) = (shape.outputs, shape.geometry.kernel);
    let count = taps[0] * taps[1];
    let [of_image, of_output] = [shape.size, shape.out_size].map(|size| size[0] * size[1] * channels);
    let [rows, columns] = [0, 1].map(|axis| forward_reach(shape, axis));
    let images = x.par_chunks(of_image).zip(gradient.par_chunks(of_output));
    let sums: Vec<Vec<f32>> = images
        .map(|(x, gradient)| {
            let mut sums = vec![0.0; count * channels];
            let of_image = OfImage { shape, x, gradient, rows: &rows, columns: &columns, sums: &mut sums };
            Arch::new().dispatch(of_image);
            sums
        })
        .collect();
    let total = |channel: usize, tap: usize| sums.iter().map(|sums| f64::from(sums[tap * channels + channel])).sum();
    (0..channels * count)
        .map(|at| {
            let sum: f64 = total(at / count, at % count);
            sum as f32
        })
        .collect()
}

/// One image's share, `[tap, channel]`.
struct OfImage<'a> {
    shape: &'a Shape,
    x: &'a [f32],
    gradient: &'a [f32],
    rows: &'a [Vec<Reach>],
    columns: &'a [Vec<Reach>],
    sums: &'a mut [f32],
}

impl WithSimd for OfImage<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (channels, across) = (self.shape.outputs, self.shape.geometry.kernel[1]);
        let [source_row, target_row] = [self.shape.size[1], self.shape.out_size[1]].map(|width| width * channels);
        for (row, above) in self.rows.iter().enumerate() {
            let gradient = &self.gradient[row * target_row..][..target_row];
            for down in above {
                let x = &self.x[down.source * source_row..][..source_row];
                let sums = &mut self.sums[down.tap * across * channels..][..across * channels];
                for first in (0..channels).step_by(S::F32_LANES) {
                    let lanes = S::F32_LANES.min(channels - first);
                    for (column, beside) in self.columns.iter().enumerate() {
                        let gradient = load(simd, &gradient[column * channels + first..], lanes);
                        for right in beside {
                            let sums = &mut sums[right.tap * channels + first..];
                            let x = load(simd, &x[right.source * channels + first..], lanes);
                            let sum = simd.mul_add_e_f32s(x, gradient, load(simd, sums, lanes));
                            store(simd, sums, sum, lanes);
                        }
                    }
                }
            }
        }
    }
}
