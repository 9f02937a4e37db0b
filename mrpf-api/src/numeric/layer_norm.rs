//! Layer normalisation: each row by its own mean and variance.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

use super::float::{Float, PIECE, for_dtype, is_native, read, sum_of, tensor, values};
use crate::{Error, ErrorKind, Result};

/// `(x - mean) / sqrt(variance + epsilon) * scale + shift` over the last axis of `x` `[.., channel]`; `scale` and `shift` are `[channel]`.
///
/// The variance is the biased one (Ba, Kiros and Hinton 2016, equation 3; PyTorch's `layer_norm`).
///
/// # Errors
/// [`ErrorKind::Tensor`] if the shapes do not fit.
pub fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, epsilon: f64) -> Result<Tensor> {
    let channels = x.dim(D::Minus1)?;
    if channels == 0 || scale.dims() != [channels] || shift.dims() != [channels] {
        let message =
            format!("a layer norm of scale {:?} and shift {:?} on values {:?}", scale.dims(), shift.dims(), x.dims());
        return Err(Error::new(ErrorKind::Tensor, message).hint("expected one number of each for every channel"));
    }
    if !is_native(x) {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
        return Ok(normal.broadcast_mul(scale)?.broadcast_add(shift)?);
    }
    for_dtype!(x, T => {
        let operation = LayerNormRows::<T>::new(channels, epsilon);
        Ok(x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, operation)?)
    })
}

/// The operation on rows of `[channel]` that lie one after the other.
#[derive(Debug)]
pub(crate) struct LayerNormRows<T> {
    channels: usize,
    epsilon: f64,
    element: PhantomData<T>,
}

impl<T: Float> LayerNormRows<T> {
    pub fn new(channels: usize, epsilon: f64) -> Self {
        Self { channels, epsilon, element: PhantomData }
    }

    /// Normalises every row of `x`.
    pub fn forward(&self, x: &[T], scale: &[T], shift: &[T], out: &mut [T]) {
        let rows = out.par_chunks_mut(self.channels).zip(x.par_chunks(self.channels));
        rows.with_min_len(self.rows_together()).for_each(|(out, x)| {
            let (mean, factor) = self.moments(x);
            for at in 0..self.channels {
                out[at] = (x[at] - mean) * factor * scale[at] + shift[at];
            }
        });
    }

    /// Writes the gradient by `x`.
    pub fn by_input(&self, x: &[T], scale: &[T], gradient: &[T], by_x: &mut [T]) {
        let rows = by_x.par_chunks_mut(self.channels).zip(x.par_chunks(self.channels));
        let rows = rows.zip(gradient.par_chunks(self.channels)).with_min_len(self.rows_together());
        rows.for_each(|((by_x, x), gradient)| self.by_row(x, scale, gradient, by_x));
    }

    /// Rows to a task: a whole number of rows of about [`PIECE`] values.
    fn rows_together(&self) -> usize {
        PIECE.div_ceil(self.channels)
    }

    /// Mean and inverse deviation of a row.
    fn moments(&self, row: &[T]) -> (T, T) {
        let count = self.channels as f64;
        let mean = T::from_f64(sum_of(row, row, |x, _| x) / count);
        let variance = sum_of(row, row, |x, _| (x - mean) * (x - mean)) / count;
        (mean, T::from_f64(1.0 / (variance + self.epsilon).sqrt()))
    }

    /// Gradient by a row, with `slope = gradient * scale` and the row's normalised values: `(slope - mean(slope) - normal *
    /// mean(slope * normal)) / deviation`.
    fn by_row(&self, x: &[T], scale: &[T], gradient: &[T], out: &mut [T]) {
        let (mean, factor) = self.moments(x);
        let count = self.channels as f64;
        out.iter_mut().zip(gradient).zip(scale).for_each(|((out, g), scale)| *out = *g * *scale);
        let plain = T::from_f64(sum_of(out, out, |slope, _| slope) / count);
        let along = T::from_f64(sum_of(out, x, |slope, x| slope * (x - mean)) / count) * factor * factor;
        out.iter_mut().zip(x).for_each(|(out, x)| *out = (*out - plain - (*x - mean) * along) * factor);
    }

    /// Sums over all rows of the gradient times the normalised values, and of the gradient.
    pub fn by_scale_and_shift(&self, x: &[T], gradient: &[T]) -> [Vec<T>; 2] {
        let length = self.rows_together() * self.channels;
        let of_piece = |(x, gradient): (&[T], &[T])| {
            let mut sums = [vec![T::zero(); self.channels], vec![T::zero(); self.channels]];
            let [by_scale, by_shift] = &mut sums;
            for (x, gradient) in x.chunks_exact(self.channels).zip(gradient.chunks_exact(self.channels)) {
                let (mean, factor) = self.moments(x);
                for at in 0..self.channels {
                    by_scale[at] += gradient[at] * (x[at] - mean) * factor;
                    by_shift[at] += gradient[at];
                }
            }
            sums
        };
        let pieces: Vec<_> = x.par_chunks(length).zip(gradient.par_chunks(length)).map(of_piece).collect();
        // Added in their order, whichever thread was first.
        [0, 1].map(|which| {
            let total = |at: usize| T::from_f64(pieces.iter().map(|sums| sums[which][at].to_f64()).sum());
            (0..self.channels).map(total).collect()
        })
    }
}

impl<T: Float> CustomOp3 for LayerNormRows<T> {
    fn name(&self) -> &'static str {
        "layer normalisation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values::<T>(x, x_layout)?;
        let (scale, shift) = (values::<T>(scale, scale_layout)?, values::<T>(shift, shift_layout)?);
        let mut out = vec![T::zero(); x.len()];
        self.forward(x, scale, shift, &mut out);
        Ok((T::to_cpu_storage_owned(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (by_x, sums) = read::<T, _>(x, |values| {
            read::<T, _>(gradient, |gradient| {
                let by_x = x.track_op().then(|| {
                    read::<T, _>(scale, |scale| {
                        let mut by_x = vec![T::zero(); values.len()];
                        self.by_input(values, scale, gradient, &mut by_x);
                        Ok(by_x)
                    })
                });
                let tracked = scale.track_op() || shift.track_op();
                Ok((by_x.transpose()?, tracked.then(|| self.by_scale_and_shift(values, gradient))))
            })
        })?;
        let by_x = by_x.map(|by_x| tensor(by_x, x.shape())).transpose()?;
        let Some([by_scale, by_shift]) = sums else { return Ok((by_x, None, None)) };
        let of = |argument: &Tensor, sum| argument.track_op().then(|| tensor(sum, self.channels)).transpose();
        Ok((by_x, of(scale, by_scale)?, of(shift, by_shift)?))
    }
}
