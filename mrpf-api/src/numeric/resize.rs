//! Bilinear interpolation to another height and width.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

use super::float::{Float, for_dtype, is_native, read, tensor, values};
use crate::{Error, ErrorKind, Result};

/// `x` `[batch, channel, height, width]` at another `size` `[height, width]`, by bilinear interpolation between the centres of the pixels.
///
/// As PyTorch's `interpolate` with `align_corners=False` and without antialiasing: beyond the outermost centres their values go on.
///
/// # Errors
/// [`ErrorKind::Tensor`] if a size is zero.
pub fn resize(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if x.elem_count() * size[0] * size[1] == 0 {
        return Err(Error::new(ErrorKind::Tensor, format!("values {:?} resized to {size:?}", x.dims())));
    }
    let (rows, columns) = (taps(height, size[0]), taps(width, size[1]));
    if !is_native(x) {
        // One product with a matrix along each axis.
        let matrix = |taps: &[Tap], from: usize| -> Result<Tensor> {
            let mut values = vec![0.0; taps.len() * from];
            for (at, tap) in taps.iter().enumerate() {
                tap.each().into_iter().for_each(|(source, weight)| values[at * from + source] += weight);
            }
            let matrix = Tensor::from_vec(values, (taps.len(), from), &Device::Cpu)?;
            Ok(matrix.to_dtype(x.dtype())?.to_device(x.device())?)
        };
        let x = x.contiguous()?.reshape((batch * channels * height, width))?.matmul(&matrix(&columns, width)?.t()?)?;
        let x = x.reshape((batch * channels, height, size[1]))?;
        let x = matrix(&rows, height)?.broadcast_left(batch * channels)?.contiguous()?.matmul(&x)?;
        return Ok(x.reshape((batch, channels, size[0], size[1]))?);
    }
    for_dtype!(x, T => {
        let operation = Resize::<T> { from: [height, width], rows, columns, element: PhantomData };
        Ok(x.contiguous()?.apply_op1(operation)?)
    })
}

/// The two values that one of the output lies between.
#[derive(Debug, Clone, Copy)]
struct Tap {
    before: usize,
    after: usize,
    /// Share of the latter.
    share: f64,
}

impl Tap {
    fn each(&self) -> [(usize, f64); 2] {
        [(self.before, 1.0 - self.share), (self.after, self.share)]
    }
}

/// For each value along one axis of the output, the two of the input that it lies between, with their shares.
pub(crate) fn interpolation(from: usize, to: usize) -> Vec<[(usize, f64); 2]> {
    taps(from, to).iter().map(Tap::each).collect()
}

/// For each value along one axis of the output.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let of = |at: usize| {
        let place = ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let before = (place as usize).min(from - 1);
        Tap { before, after: (before + 1).min(from - 1), share: place - before as f64 }
    };
    (0..to).map(of).collect()
}

struct Resize<T> {
    from: [usize; 2],
    rows: Vec<Tap>,
    columns: Vec<Tap>,
    element: PhantomData<T>,
}

impl<T: Float> Resize<T> {
    /// Calls `visit(output, input, weight)` for everything that an output pixel is made of.
    fn visit(&self, mut visit: impl FnMut(usize, usize, T)) {
        for (row, row_tap) in self.rows.iter().enumerate() {
            for (column, column_tap) in self.columns.iter().enumerate() {
                for (y, by_row) in row_tap.each() {
                    for (x, by_column) in column_tap.each() {
                        let output = row * self.columns.len() + column;
                        visit(output, y * self.from[1] + x, T::from_f64(by_row * by_column));
                    }
                }
            }
        }
    }

    fn pixels(&self) -> [usize; 2] {
        [self.from[0] * self.from[1], self.rows.len() * self.columns.len()]
    }
}

impl<T: Float> CustomOp1 for Resize<T> {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values::<T>(x, layout)?;
        let [from, to] = self.pixels();
        let mut out = vec![T::zero(); x.len() / from * to];
        let maps = out.par_chunks_mut(to).zip(x.par_chunks(from));
        maps.for_each(|(out, x)| self.visit(|output, input, weight| out[output] += x[input] * weight));
        let (batch, channels, _, _) = layout.shape().dims4()?;
        let shape = Shape::from((batch, channels, self.rows.len(), self.columns.len()));
        Ok((T::to_cpu_storage_owned(out), shape))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let [from, to] = self.pixels();
        let by_x = read::<T, _>(gradient, |gradient| {
            let mut by_x = vec![T::zero(); x.elem_count()];
            let maps = by_x.par_chunks_mut(from).zip(gradient.par_chunks(to));
            maps.for_each(|(by_x, gradient)| {
                self.visit(|output, input, weight| by_x[input] += gradient[output] * weight)
            });
            Ok(by_x)
        })?;
        Ok(Some(tensor(by_x, x.shape())?))
    }
}
