//! Convolutions of any kernel and stride as one matrix product: each output pixel's window is a row.

use pulp::Arch;
use rayon::prelude::*;

use super::finish::{Finish, Piece, add};
use crate::numeric::ConvGeometry;
use crate::numeric::kernel::{Matrix, Onto, product, with_scratch};

/// Output pixels of a block, at least.
const BLOCK: usize = 256;

/// A convolution `[height, width, inputs]` to `[height', width', outputs]` of one group.
#[derive(Debug)]
pub(super) struct Columns {
    inputs: usize,
    outputs: usize,
    geometry: ConvGeometry,
    /// `[kernel height, kernel width, inputs, outputs]`.
    weight: Vec<f32>,
}

/// Sizes of one run.
#[derive(Clone, Copy)]
struct Extent {
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
}

impl Columns {
    /// From a weight `[outputs, inputs, kernel height, kernel width]`.
    pub fn new([inputs, outputs]: [usize; 2], geometry: ConvGeometry, weight: &[f32]) -> Self {
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let mut turned = vec![0.0; weight.len()];
        turned.par_chunks_mut(outputs).enumerate().for_each(|(row, turned)| {
            let (tap, input) = (row / inputs, row % inputs);
            turned.iter_mut().enumerate().for_each(|(output, to)| *to = weight[(output * inputs + input) * taps + tap]);
        });
        Self { inputs, outputs, geometry, weight: turned }
    }

    /// A matrix `[outputs, inputs]` on vectors, which are images of one pixel.
    pub fn pointwise(sizes: [usize; 2], weight: &[f32]) -> Self {
        Self::new(sizes, ConvGeometry::square(1), weight)
    }

    fn taps(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1]
    }

    /// Whether a window is one pixel and every pixel is one, so that the images are the rows already.
    fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.geometry.stride == [1; 2] && self.geometry.padding == [0; 2]
    }

    fn extent(&self, [height, width]: [usize; 2]) -> Extent {
        let ConvGeometry { kernel, stride, padding, .. } = self.geometry;
        let out = |axis: usize, size: usize| (size + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1;
        Extent { height, width, out_height: out(0, height), out_width: out(1, width) }
    }

    /// Convolves `x` `[batch, height, width, inputs]` into `out` `[batch, height', width', outputs]`.
    pub fn run(&self, x: &[f32], size: [usize; 2], out: &mut [f32], finish: Finish<'_>) {
        let extent = self.extent(size);
        let rows = out.len() / (extent.out_width * self.outputs);
        let rows_per_block = BLOCK.div_ceil(extent.out_width);
        let firsts: Vec<usize> = (0..rows).step_by(rows_per_block).collect();
        let starts = firsts.iter().map(|row| row * extent.out_width).collect();
        let jobs: Vec<_> = firsts.into_iter().zip(finish.pieces(out, self.outputs, starts)).collect();
        jobs.into_par_iter().for_each(|(first, piece)| self.run_block(x, &extent, first, piece));
    }

    fn run_block(&self, x: &[f32], extent: &Extent, first: usize, piece: Piece<'_>) {
        let (pixels, window) = (piece.out.len() / self.outputs, self.taps() * self.inputs);
        let weight = Matrix::new(&self.weight, [window, self.outputs], self.outputs);
        if self.is_pointwise() {
            let x = &x[first * extent.out_width * self.inputs..];
            product(piece.out, Onto::Nothing, Matrix::new(x, [pixels, window], window), weight);
        } else {
            with_scratch(pixels * window, |windows| {
                Arch::new().dispatch(
                    #[inline(always)]
                    || self.gather(x, extent, first * extent.out_width, windows),
                );
                product(piece.out, Onto::Nothing, Matrix::new(windows, [pixels, window], window), weight);
            });
        }
        Arch::new().dispatch(
            #[inline(always)]
            || piece.finish(self.outputs),
        );
    }

    /// The windows of output pixels from `first` on, a row each.
    #[inline(always)]
    fn gather(&self, x: &[f32], extent: &Extent, first: usize, windows: &mut [f32]) {
        for (at, window) in windows.chunks_exact_mut(self.taps() * self.inputs).enumerate() {
            for (tap, values) in window.chunks_exact_mut(self.inputs).enumerate() {
                match self.place(extent, first + at, tap) {
                    Some(place) => values.copy_from_slice(&x[place * self.inputs..][..self.inputs]),
                    None => values.fill(0.0),
                }
            }
        }
    }

    /// The input pixel that an output pixel reads at a tap; none in the padding.
    #[inline(always)]
    fn place(&self, extent: &Extent, pixel: usize, tap: usize) -> Option<usize> {
        let ConvGeometry { kernel, stride, padding, .. } = self.geometry;
        let (row, column) = (pixel / extent.out_width, pixel % extent.out_width);
        let (image, row) = (row / extent.out_height, row % extent.out_height);
        let y = (row * stride[0] + tap / kernel[1]).checked_sub(padding[0]).filter(|y| *y < extent.height)?;
        let x = (column * stride[1] + tap % kernel[1]).checked_sub(padding[1]).filter(|x| *x < extent.width)?;
        Some((image * extent.height + y) * extent.width + x)
    }

    /// Gradient by `x` from the output's `gradient`, written to or added to `by_x`; image by image.
    pub fn input_gradient(&self, gradient: &[f32], size: [usize; 2], by_x: &mut [f32], accumulate: bool) {
        let extent = self.extent(size);
        let (pixels, window) = (extent.out_height * extent.out_width, self.taps() * self.inputs);
        let weight = Matrix::new(&self.weight, [window, self.outputs], self.outputs).transposed();
        let of_image = by_x.par_chunks_mut(size[0] * size[1] * self.inputs);
        of_image.zip(gradient.par_chunks(pixels * self.outputs)).for_each(|(by_x, gradient)| {
            let gradient = Matrix::new(gradient, [pixels, self.outputs], self.outputs);
            if self.is_pointwise() {
                let onto = if accumulate { Onto::Present } else { Onto::Nothing };
                return product(by_x, onto, gradient, weight);
            }
            if !accumulate {
                by_x.fill(0.0);
            }
            with_scratch(pixels * window, |windows| {
                product(windows, Onto::Nothing, gradient, weight);
                Arch::new().dispatch(
                    #[inline(always)]
                    || self.scatter_add(windows, &extent, by_x),
                );
            });
        });
    }

    #[inline(always)]
    fn scatter_add(&self, windows: &[f32], extent: &Extent, by_x: &mut [f32]) {
        for (pixel, window) in windows.chunks_exact(self.taps() * self.inputs).enumerate() {
            for (tap, values) in window.chunks_exact(self.inputs).enumerate() {
                if let Some(place) = self.place(extent, pixel, tap) {
                    add(&mut by_x[place * self.inputs..][..self.inputs], values);
                }
            }
        }
    }
}
