//! Normalisation by a constant mean and standard deviation per channel.

use candle_core::{Device, Tensor};

use crate::Result;

/// `(x - mean) / std` for `x` `[batch, channel, height, width]`.
pub fn normalize(x: &Tensor, mean: &[f64], std: &[f64]) -> Result<Tensor> {
    let constant = |values: Vec<f64>| -> Result<Tensor> {
        let count = values.len();
        Ok(Tensor::from_vec(values, (1, count, 1, 1), &Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())?)
    };
    let factor = constant(std.iter().map(|std| 1.0 / std).collect())?;
    let offset = constant(mean.iter().zip(std).map(|(mean, std)| -mean / std).collect())?;
    Ok(x.broadcast_mul(&factor)?.broadcast_add(&offset)?)
}
