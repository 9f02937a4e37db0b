//! Pooling and the parameter-free shortcut.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::PoolGeometry;
use super::float::{Float, PIECE, for_dtype, is_native, read, tensor, values};
use crate::{Error, ErrorKind, Result};

/// Largest value of each window of `x` `[batch, channel, height, width]`; padding never wins.
///
/// The gradient goes to the first of equal values, as in PyTorch. A window with a value that is not a number gives
/// that.
///
/// # Errors
/// [`ErrorKind::Declaration`] if the window does not fit.
pub fn max_pool2d(x: &Tensor, geometry: &PoolGeometry) -> Result<Tensor> {
    pool(x, geometry, Reduction::Max)
}

/// Mean of each window of `x` `[batch, channel, height, width]`; padding counts as zeros.
///
/// # Errors
/// [`ErrorKind::Declaration`] if the window does not fit.
pub fn avg_pool2d(x: &Tensor, geometry: &PoolGeometry) -> Result<Tensor> {
    pool(x, geometry, Reduction::Mean)
}

/// Mean over height and width: `[batch, channel, height, width]` to `[batch, channel]`.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    Ok(x.flatten(2, 3)?.mean(2)?)
}

/// Every `stride`-th pixel of `x` `[batch, channel, height, width]`, with zero channels appended up to `channels`.
///
/// # Errors
/// [`ErrorKind::Declaration`] if `stride` is 0 or `x` has more than `channels` channels.
pub fn pad_shortcut(x: &Tensor, stride: usize, channels: usize) -> Result<Tensor> {
    let (_, present, height, width) = x.dims4()?;
    if stride == 0 || present > channels {
        let message = format!("a shortcut with stride {stride} from {present} to {channels} channels");
        return Err(Error::new(ErrorKind::Declaration, message));
    }
    let every = |size: usize| {
        let at: Vec<u32> = (0..size).step_by(stride).map(|i| i as u32).collect();
        let count = at.len();
        Tensor::from_vec(at, count, x.device())
    };
    let x = x.contiguous()?;
    let x = match stride {
        1 => x,
        _ => x.index_select(&every(height)?, 2)?.index_select(&every(width)?, 3)?,
    };
    Ok(x.pad_with_zeros(1, 0, channels - present)?)
}

fn pool(x: &Tensor, geometry: &PoolGeometry, reduction: Reduction) -> Result<Tensor> {
    let windows = Windows::new(x, geometry)?;
    if !is_native(x) {
        return windows.composed(x, reduction);
    }
    for_dtype!(x, T => Ok(x.contiguous()?.apply_op1(Pool::<T> { windows, reduction, element: PhantomData })?))
}

#[derive(Clone, Copy)]
enum Reduction {
    Max,
    Mean,
}

/// The windows of one map.
#[derive(Clone, Copy)]
struct Windows {
    geometry: PoolGeometry,
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
}

impl Windows {
    fn new(x: &Tensor, geometry: &PoolGeometry) -> Result<Self> {
        let (_, _, height, width) = x.dims4()?;
        let (out_height, out_width) = geometry.output_size(height, width)?;
        Ok(Self { geometry: *geometry, height, width, out_height, out_width })
    }

    /// Input positions of output `at` along one axis, padding left out; never empty, as padding is at most half the
    /// window.
    fn span(&self, axis: usize, at: usize, size: usize) -> Range<usize> {
        let start = at * self.geometry.stride[axis];
        let padding = self.geometry.padding[axis];
        start.saturating_sub(padding)..(start + self.geometry.kernel[axis] - padding).min(size)
    }

    /// Calls `visit(output, rows, columns)` for each output, in order.
    #[inline]
    fn each(&self, mut visit: impl FnMut(usize, Range<usize>, Range<usize>)) {
        for row in 0..self.out_height {
            let rows = self.span(0, row, self.height);
            for column in 0..self.out_width {
                visit(row * self.out_width + column, rows.clone(), self.span(1, column, self.width));
            }
        }
    }

    /// Where the largest value of a window is, the first of equals; a value that is not a number counts as the largest.
    #[inline]
    fn largest<T: Float>(&self, map: &[T], rows: Range<usize>, columns: Range<usize>) -> usize {
        let mut best = rows.start * self.width + columns.start;
        let mut largest = map[best];
        for row in rows {
            let start = row * self.width + columns.start;
            for (at, value) in map[start..][..columns.len()].iter().enumerate() {
                let value = *value;
                // Only what is not a number differs from itself.
                #[expect(clippy::eq_op)]
                let wins = value > largest || value != value;
                // Two selections instead of a branch, which would go wrong every other time.
                best = if wins { start + at } else { best };
                largest = if wins { value } else { largest };
            }
        }
        best
    }

    /// From Candle's gathering operations, for other devices and element types; its own poolings have wrong gradients.
    fn composed(&self, x: &Tensor, reduction: Reduction) -> Result<Tensor> {
        let (batch, channels, _, _) = x.dims4()?;
        let outputs = self.out_height * self.out_width;
        let PoolGeometry { kernel, stride, padding } = self.geometry;
        let padded_width = self.width + 2 * padding[1];
        let filler = match reduction {
            // Below every value that an element type can hold, and a number, since infinity times zero is none.
            Reduction::Max => f32::NEG_INFINITY,
            Reduction::Mean => 0.0,
        };
        let pad = |x: &Tensor, axis: usize| -> Result<Tensor> {
            let mut shape = x.dims().to_vec();
            shape[axis + 2] = padding[axis];
            if padding[axis] == 0 {
                return Ok(x.clone());
            }
            let border = Tensor::full(filler, shape, x.device())?.to_dtype(x.dtype())?;
            Ok(Tensor::cat(&[&border, x, &border], axis + 2)?)
        };
        let flat = pad(&pad(x, 0)?, 1)?.flatten(2, 3)?;
        let mut sources = Vec::with_capacity(outputs * kernel[0] * kernel[1]);
        for output in 0..outputs {
            let (row, column) = (output / self.out_width * stride[0], output % self.out_width * stride[1]);
            for tap in 0..kernel[0] * kernel[1] {
                sources.push(((row + tap / kernel[1]) * padded_width + column + tap % kernel[1]) as u32);
            }
        }
        let count = sources.len();
        let windows = flat.contiguous()?.index_select(&Tensor::from_vec(sources, count, x.device())?, 2)?;
        let windows = windows.reshape((batch, channels, outputs, kernel[0] * kernel[1]))?;
        let out = match reduction {
            Reduction::Max => windows.gather(&windows.detach().argmax_keepdim(3)?, 3)?.squeeze(3)?,
            Reduction::Mean => windows.mean(3)?,
        };
        Ok(out.reshape((batch, channels, self.out_height, self.out_width))?)
    }
}

struct Pool<T> {
    windows: Windows,
    reduction: Reduction,
    element: PhantomData<T>,
}

impl<T: Float> Pool<T> {
    /// One divided by the size of the window with its padding.
    fn share(&self) -> T {
        T::from_f64(1.0 / (self.windows.geometry.kernel[0] * self.windows.geometry.kernel[1]) as f64)
    }

    fn forward(&self, map: &[T], out: &mut [T]) {
        let (windows, share) = (&self.windows, self.share());
        match self.reduction {
            Reduction::Max => windows.each(|at, rows, columns| out[at] = map[windows.largest(map, rows, columns)]),
            Reduction::Mean => windows.each(|at, rows, columns| {
                let row = |row: usize| &map[row * windows.width..][columns.clone()];
                let sum = rows.flat_map(row).fold(T::zero(), |sum, value| sum + *value);
                out[at] = sum * share;
            }),
        }
    }

    fn backward(&self, map: &[T], gradient: &[T], by_map: &mut [T]) {
        let (windows, share) = (&self.windows, self.share());
        match self.reduction {
            Reduction::Max => {
                windows.each(|at, rows, columns| by_map[windows.largest(map, rows, columns)] += gradient[at]);
            }
            Reduction::Mean => windows.each(|at, rows, columns| {
                for row in rows {
                    by_map[row * windows.width..][columns.clone()]
                        .iter_mut()
                        .for_each(|to| *to += gradient[at] * share);
                }
            }),
        }
    }
}

impl<T: Float> CustomOp1 for Pool<T> {
    fn name(&self) -> &'static str {
        match self.reduction {
            Reduction::Max => "max pooling",
            Reduction::Mean => "average pooling",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Windows { height, width, out_height, out_width, .. } = self.windows;
        let (batch, channels, _, _) = layout.shape().dims4()?;
        let x = values::<T>(x, layout)?;
        let mut out = vec![T::zero(); batch * channels * out_height * out_width];
        let maps = x.par_chunks(height * width).with_min_len(PIECE.div_ceil(height * width));
        maps.zip(out.par_chunks_mut(out_height * out_width)).for_each(|(map, out)| self.forward(map, out));
        Ok((T::to_cpu_storage_owned(out), Shape::from((batch, channels, out_height, out_width))))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Windows { height, width, out_height, out_width, .. } = self.windows;
        let by_x = read::<T, _>(x, |x| {
            read::<T, _>(gradient, |gradient| {
                let mut by_x = vec![T::zero(); x.len()];
                let gradients = gradient.par_chunks(out_height * out_width);
                let maps = x.par_chunks(height * width).with_min_len(PIECE.div_ceil(height * width));
                let maps = maps.zip(gradients).zip(by_x.par_chunks_mut(height * width));
                maps.for_each(|((map, gradient), by_map)| self.backward(map, gradient, by_map));
                Ok(by_x)
            })
        })?;
        Ok(Some(tensor(by_x, x.shape())?))
    }
}

#[cfg(test)]
pub(super) fn composed_max_pool2d(x: &Tensor, geometry: &PoolGeometry) -> Result<Tensor> {
    Windows::new(x, geometry)?.composed(x, Reduction::Max)
}

#[cfg(test)]
pub(super) fn composed_avg_pool2d(x: &Tensor, geometry: &PoolGeometry) -> Result<Tensor> {
    Windows::new(x, geometry)?.composed(x, Reduction::Mean)
}
