//! Normalisation by a constant mean and standard deviation per channel.

use candle_core::Tensor;

use super::batch_norm::{Constants, channel_affine};
use crate::{Error, ErrorKind, Result};

/// `(x - mean) / std` for `x` `[batch, channel, height, width]`.
///
/// # Errors
/// [`ErrorKind::Tensor`] if there is not one mean and one standard deviation per channel.
pub fn normalize(x: &Tensor, mean: &[f64], std: &[f64]) -> Result<Tensor> {
    let (_, channels, _, _) = x.dims4()?;
    if mean.len() != channels || std.len() != channels {
        let message = format!("{} means and {} deviations for {channels} channels", mean.len(), std.len());
        return Err(Error::new(ErrorKind::Tensor, message));
    }
    let constants = Constants { mean: mean.to_vec(), factor: std.iter().map(|std| 1.0 / std).collect() };
    let (ones, zeros) =
        (Tensor::ones(channels, x.dtype(), x.device())?, Tensor::zeros(channels, x.dtype(), x.device())?);
    channel_affine(x, &ones, &zeros, constants)
}
