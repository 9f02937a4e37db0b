//! Batch normalisation over `[batch, height, width]` of each channel.

use candle_core::Tensor;

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
    let (batch, _, height, width) = x.dims4()?;
    let count = batch * height * width;
    if count < 2 {
        let message =
            format!("batch normalisation in training mode over {count} value per channel, expected at least 2");
        return Err(Error::new(ErrorKind::Numeric, message).hint("use a larger batch"));
    }
    let mean = x.mean_keepdim((0, 2, 3))?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let normal = centred.broadcast_div(&(&variance + epsilon)?.sqrt()?)?;
    let y = normal.broadcast_mul(&scale.reshape((1, (), 1, 1))?)?.broadcast_add(&shift.reshape((1, (), 1, 1))?)?;
    let statistics =
        BatchStatistics { mean: mean.flatten_all()?.detach(), variance: variance.flatten_all()?.detach(), count };
    Ok((y, statistics))
}

/// Normalises by given statistics, as in evaluation mode.
pub fn batch_norm_eval(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let factor = (scale / (variance + epsilon)?.sqrt()?)?;
    let offset = (shift - (mean * &factor)?)?;
    Ok(x.broadcast_mul(&factor.reshape((1, (), 1, 1))?)?.broadcast_add(&offset.reshape((1, (), 1, 1))?)?)
}
