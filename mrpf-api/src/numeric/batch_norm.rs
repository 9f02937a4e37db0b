//! Batch normalisation over `[batch, height, width]` of each channel.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::InF64;
use super::attached::attach3;
use super::float::{Float, PIECE, for_dtype, is_native, read, sum_of, tensor, values};
use crate::{Error, ErrorKind, Result};

/// Mean and biased variance of a batch, `[channel]` each, without a gradient.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Mean of each channel.
    pub mean: Tensor,
    /// Biased variance of each channel.
    pub variance: Tensor,
    /// Values per channel, `batch * height * width`.
    pub count: usize,
}

/// Normalises by the statistics of this very batch, through which the gradient flows.
///
/// `x` is `[batch, channel, height, width]`; `scale` and `shift` are `[channel]`.
///
/// # Errors
/// [`ErrorKind::Numeric`] if there is only one value per channel, whose unbiased variance would not exist.
pub fn batch_norm_train(x: &Tensor, scale: &Tensor, shift: &Tensor, epsilon: f64) -> Result<(Tensor, BatchStatistics)> {
    let (batch, channels, height, width) = x.dims4()?;
    let count = batch * height * width;
    if count < 2 {
        let message =
            format!("batch normalisation in training mode over {count} value per channel, expected at least 2");
        return Err(Error::new(ErrorKind::Numeric, message).hint("use a larger batch"));
    }
    check_channels(channels, &[scale, shift])?;
    if !is_native(x) {
        return composed_train(x, scale, shift, epsilon, count);
    }
    let x = x.contiguous()?;
    let (mean, variance) =
        for_dtype!(x, T => read::<T, _>(&x, |values| Ok(moments(values, channels, height * width)))?);
    let statistic = |values: &[f64]| Tensor::new(values, &Device::Cpu)?.to_dtype(x.dtype());
    let statistics = BatchStatistics { mean: statistic(&mean)?, variance: statistic(&variance)?, count };
    let constants = Constants { mean, factor: variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect() };
    Ok((native(&x, scale, shift, constants, true)?, statistics))
}

/// Normalises by given statistics, as in evaluation mode; they are constants, no gradient flows into them.
///
/// Shapes as in [`batch_norm_train`]; `mean` and `variance` are `[channel]`.
pub fn batch_norm_eval(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let (_, channels, _, _) = x.dims4()?;
    check_channels(channels, &[scale, shift, mean, variance])?;
    if !is_native(x) {
        // No number comes back from the device.
        let slope = (scale / (variance + epsilon)?.sqrt()?)?;
        return by_channel(x, &slope, &(shift - (mean * &slope)?)?);
    }
    let mean = mean.in_f64()?.to_vec1::<f64>()?;
    let variance = variance.in_f64()?.to_vec1::<f64>()?;
    let factor = variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect();
    channel_affine(x, scale, shift, Constants { mean, factor })
}

/// Numbers of each channel that no gradient is wanted for.
pub(super) struct Constants {
    /// Subtracted first.
    pub mean: Vec<f64>,
    /// Multiplied next, before the scale.
    pub factor: Vec<f64>,
}

/// `(x - mean) * factor * scale + shift` in each channel of `x` `[batch, channel, height, width]`.
pub(super) fn channel_affine(x: &Tensor, scale: &Tensor, shift: &Tensor, constants: Constants) -> Result<Tensor> {
    if is_native(x) {
        return native(&x.contiguous()?, scale, shift, constants, false);
    }
    let constant = |values: Vec<f64>| -> Result<Tensor> {
        Ok(Tensor::new(values, &Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())?)
    };
    let factor = (scale * constant(constants.factor)?)?;
    let offset = (shift - (constant(constants.mean)? * &factor)?)?;
    by_channel(x, &factor, &offset)
}

/// `x * slope + offset`, `[channel]` each.
fn by_channel(x: &Tensor, slope: &Tensor, offset: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_mul(&slope.reshape((1, (), 1, 1))?)?.broadcast_add(&offset.reshape((1, (), 1, 1))?)?)
}

fn check_channels(channels: usize, each: &[&Tensor]) -> Result<()> {
    match each.iter().find(|tensor| tensor.dims() != [channels]) {
        None => Ok(()),
        Some(wrong) => {
            let message = format!("batch normalisation of {channels} channels with a tensor of {:?}", wrong.dims());
            Err(Error::new(ErrorKind::Tensor, message))
        }
    }
}

/// The training mode from Candle's own operations, for other devices and element types; the gradient as of [`Affine`].
fn composed_train(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    epsilon: f64,
    count: usize,
) -> Result<(Tensor, BatchStatistics)> {
    let value = x.detach();
    let mean = value.mean_keepdim((0, 2, 3))?;
    let centred = value.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let inverse = (&variance + epsilon)?.sqrt()?.recip()?;
    let normal = centred.broadcast_mul(&inverse)?;
    let y = by_channel(&normal, &scale.detach(), &shift.detach())?;
    let statistics = BatchStatistics { mean: mean.flatten_all()?, variance: variance.flatten_all()?, count };
    let y = attach3("batch normalisation", [x, scale, shift], y, move |[x, scale, shift], _, gradient| {
        let plain = gradient.sum_keepdim((0, 2, 3))?;
        let along = (gradient * &normal)?.sum_keepdim((0, 2, 3))?;
        let by_x = || {
            let share = 1.0 / count as f64;
            let slope = inverse.broadcast_mul(&scale.detach().reshape((1, (), 1, 1))?)?;
            let through = normal.broadcast_mul(&(&along * share)?)?.broadcast_add(&(&plain * share)?)?;
            (gradient - through)?.broadcast_mul(&slope)
        };
        let by_x = x.track_op().then(by_x).transpose()?;
        let by_scale = scale.track_op().then(|| along.flatten_all()).transpose()?;
        Ok([by_x, by_scale, shift.track_op().then(|| plain.flatten_all()).transpose()?])
    })?;
    Ok((y, statistics))
}

fn native(x: &Tensor, scale: &Tensor, shift: &Tensor, constants: Constants, of_batch: bool) -> Result<Tensor> {
    let (_, channels, height, width) = x.dims4()?;
    let (scale, shift) = (scale.contiguous()?, shift.contiguous()?);
    for_dtype!(x, T => {
        let operation = Affine::<T> {
            channels,
            pixels: height * width,
            mean: converted(&constants.mean),
            factor: converted(&constants.factor),
            of_batch,
        };
        Ok(x.apply_op3(&scale, &shift, operation)?)
    })
}

fn converted<T: Float>(values: &[f64]) -> Vec<T> {
    values.iter().map(|value| T::from_f64(*value)).collect()
}

/// Mean and biased variance of each channel.
fn moments<T: Float>(x: &[T], channels: usize, pixels: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (x.len() / channels) as f64;
    let of_channel = |channel: usize| {
        let maps = || x.chunks_exact(pixels).skip(channel).step_by(channels);
        let mean = maps().map(|map| sum_of(map, map, |x, _| x)).sum::<f64>() / count;
        let centre = T::from_f64(mean);
        let squares: f64 = maps().map(|map| sum_of(map, map, |x, _| (x - centre) * (x - centre))).sum();
        (mean, squares / count)
    };
    (0..channels).into_par_iter().map(of_channel).unzip()
}

/// `(x - mean) * factor * scale + shift`; with `of_batch`, mean and factor are functions of `x`.
struct Affine<T> {
    channels: usize,
    pixels: usize,
    mean: Vec<T>,
    factor: Vec<T>,
    of_batch: bool,
}

impl<T: Float> Affine<T> {
    /// Calls `work` with the channel and the output map, in parallel.
    fn for_each_map(&self, out: &mut [T], work: impl Fn(usize, usize, &mut [T]) + Sync) {
        let maps = out.par_chunks_mut(self.pixels).with_min_len(PIECE.div_ceil(self.pixels));
        maps.enumerate().for_each(|(at, map)| work(at % self.channels, at * self.pixels, map));
    }

    /// Sums of the gradient, and of the gradient times the normalised value, of each channel.
    fn sums(&self, x: &[T], gradient: &[T]) -> (Vec<f64>, Vec<f64>) {
        let of_channel = |channel: usize| {
            let images = x.len() / self.pixels / self.channels;
            let (mean, mut plain, mut with_x) = (self.mean[channel], 0.0, 0.0);
            for image in 0..images {
                let at = (image * self.channels + channel) * self.pixels;
                let (x, gradient) = (&x[at..][..self.pixels], &gradient[at..][..self.pixels]);
                plain += sum_of(gradient, x, |g, _| g);
                with_x += sum_of(gradient, x, |g, x| g * (x - mean));
            }
            (plain, with_x * self.factor[channel].to_f64())
        };
        (0..self.channels).into_par_iter().map(of_channel).unzip()
    }

    /// Gradient by `x`: `slope * (g - mean(g) - normal * mean(g * normal))` with `slope = factor * scale` (Ioffe and
    /// Szegedy 2015, section 3), where the two means are absent for constant statistics.
    fn by_x(&self, x: &[T], scale: &[T], gradient: &[T], sums: Option<&(Vec<f64>, Vec<f64>)>) -> Vec<T> {
        let mut out = vec![T::zero(); x.len()];
        let count = (x.len() / self.channels) as f64;
        self.for_each_map(&mut out, |channel, at, out| {
            let gradient = &gradient[at..][..self.pixels];
            let slope = self.factor[channel] * scale[channel];
            match sums {
                None => out.iter_mut().zip(gradient).for_each(|(out, g)| *out = *g * slope),
                Some((plain, normal)) => {
                    let offset = T::from_f64(plain[channel] / count);
                    let along = T::from_f64(normal[channel] / count) * self.factor[channel];
                    let (x, mean) = (&x[at..][..self.pixels], self.mean[channel]);
                    for ((out, g), x) in out.iter_mut().zip(gradient).zip(x) {
                        *out = (*g - offset - (*x - mean) * along) * slope;
                    }
                }
            }
        });
        out
    }
}

impl<T: Float> CustomOp3 for Affine<T> {
    fn name(&self) -> &'static str {
        "batch normalisation"
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
        self.for_each_map(&mut out, |channel, at, out| {
            let (mean, slope, shift) = (self.mean[channel], self.factor[channel] * scale[channel], shift[channel]);
            out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = (*x - mean) * slope + shift);
        });
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
        let sums_needed = scale.track_op() || shift.track_op() || self.of_batch;
        let (by_x, sums) = read::<T, _>(x, |values| {
            read::<T, _>(gradient, |gradient| {
                let sums = sums_needed.then(|| self.sums(values, gradient));
                let through_statistics = sums.as_ref().filter(|_| self.of_batch);
                let by_x = x
                    .track_op()
                    .then(|| read::<T, _>(scale, |scale| Ok(self.by_x(values, scale, gradient, through_statistics))));
                Ok((by_x.transpose()?, sums))
            })
        })?;
        let by_x = by_x.map(|values| tensor(values, x.shape())).transpose()?;
        let per_channel = |values: Vec<f64>| tensor(converted::<T>(&values), self.channels);
        let (by_shift, by_scale) = sums.map_or((None, None), |(plain, normal)| (Some(plain), Some(normal)));
        let by_scale = by_scale.filter(|_| scale.track_op()).map(per_channel).transpose()?;
        let by_shift = by_shift.filter(|_| shift.track_op()).map(per_channel).transpose()?;
        Ok((by_x, by_scale, by_shift))
    }
}
