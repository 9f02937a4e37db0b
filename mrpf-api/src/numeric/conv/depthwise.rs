//! Convolutions whose output channels see one input channel each: too little work per window for matrix products.

use pulp::Arch;
use rayon::prelude::*;

use super::super::float::{Float, sum_of};
use super::shape::ConvShape;

/// Calls `visit(tap, output start, input start, count)` for every tap and output row: `count` outputs from
/// `output start` read the inputs from `input start`, a column stride apart.
#[inline(always)]
fn rows(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let (stride, padding) = (shape.stride, shape.padding);
    for tap in 0..shape.taps() {
        let offset = [tap / shape.kernel[1], tap % shape.kernel[1]];
        let columns = shape.inside(1, offset[1], shape.width, shape.out_width);
        if columns.is_empty() {
            continue;
        }
        let column = columns.start * stride[1] + offset[1] - padding[1];
        for row in shape.inside(0, offset[0], shape.height, shape.out_height) {
            let source = (row * stride[0] + offset[0] - padding[0]) * shape.width + column;
            visit(tap, row * shape.out_width + columns.start, source, columns.len());
        }
    }
}

/// As [`rows`], compiled for the processor at hand.
fn in_vectors(shape: &ConvShape, visit: impl FnMut(usize, usize, usize, usize)) {
    Arch::new().dispatch(
        #[inline(always)]
        || rows(shape, visit),
    );
}

/// `out += weight * x` of `count` values that lie so many apart.
#[inline(always)]
fn add_product<T: Float>(out: &mut [T], out_step: usize, x: &[T], x_step: usize, count: usize, weight: T) {
    if out_step == 1 && x_step == 1 {
        let (out, x) = (&mut out[..count], &x[..count]);
        for at in 0..count {
            out[at] += weight * x[at];
        }
    } else {
        for at in 0..count {
            out[at * out_step] += weight * x[at * x_step];
        }
    }
}

/// As [`super::forward::convolve`].
pub(super) fn convolve<T: Float>(shape: &ConvShape, images: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let channels = shape.groups * shape.out_channels;
    let mut out = vec![T::zero(); shape.batch * channels * shape.pixels()];
    out.par_chunks_mut(shape.pixels()).enumerate().for_each(|(at, out)| {
        let (filter, input) = (at % channels, at / shape.out_channels);
        let input = &images[input * shape.in_pixels()..][..shape.in_pixels()];
        let weights = &weight[filter * shape.taps()..][..shape.taps()];
        if let Some(bias) = bias {
            out.fill(bias[filter]);
        }
        let visit = |tap: usize, start: usize, source: usize, count: usize| {
            add_product(&mut out[start..][..count], 1, &input[source..], shape.stride[1], count, weights[tap]);
        };
        in_vectors(shape, visit);
    });
    out
}

/// As [`super::input_gradient::input_gradient`].
pub(super) fn input_gradient<T: Float>(shape: &ConvShape, gradient: &[T], weight: &[T]) -> Vec<T> {
    let outputs = shape.out_channels;
    let mut out = vec![T::zero(); shape.batch * shape.groups * shape.in_pixels()];
    out.par_chunks_mut(shape.in_pixels()).enumerate().for_each(|(at, out)| {
        for output in 0..outputs {
            let filter = at % shape.groups * outputs + output;
            let weights = &weight[filter * shape.taps()..][..shape.taps()];
            let gradient = &gradient[(at * outputs + output) * shape.pixels()..][..shape.pixels()];
            let visit = |tap: usize, start: usize, source: usize, count: usize| {
                add_product(&mut out[source..], shape.stride[1], &gradient[start..][..count], 1, count, weights[tap]);
            };
            in_vectors(shape, visit);
        }
    });
    out
}

/// As [`super::weight_gradient::weight_gradient`].
pub(super) fn weight_gradient<T: Float>(shape: &ConvShape, images: &[T], gradient: &[T]) -> Vec<T> {
    let channels = shape.groups * shape.out_channels;
    let mut out = vec![T::zero(); channels * shape.taps()];
    out.par_chunks_mut(shape.taps()).enumerate().for_each(|(channel, out)| {
        let mut sums = vec![0.0; shape.taps()];
        for image in 0..shape.batch {
            let gradient = &gradient[(image * channels + channel) * shape.pixels()..][..shape.pixels()];
            let input = image * shape.groups + channel / shape.out_channels;
            let input = &images[input * shape.in_pixels()..][..shape.in_pixels()];
            rows(shape, |tap, start, source, count| {
                let gradient = &gradient[start..][..count];
                sums[tap] += match shape.stride[1] {
                    1 => sum_of(gradient, &input[source..][..count], |g, x| g * x),
                    step => {
                        let products = gradient.iter().zip(input[source..].iter().step_by(step)).map(|(g, x)| *g * *x);
                        products.fold(T::zero(), |sum, product| sum + product).to_f64()
                    }
                };
            });
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::from_f64(sum));
    });
    out
}
