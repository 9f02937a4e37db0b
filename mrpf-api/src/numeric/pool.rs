//! Pooling and the parameter-free shortcut.

use candle_core::Tensor;

use super::PoolGeometry;
use crate::Result;

/// Largest value of each window of `x` `[batch, channel, height, width]`.
pub fn max_pool2d(x: &Tensor, geometry: &PoolGeometry) -> Result<Tensor> {
    Ok(x.max_pool2d_with_stride((geometry.kernel[0], geometry.kernel[1]), (geometry.stride[0], geometry.stride[1]))?)
}

/// Mean of each window of `x` `[batch, channel, height, width]`; padding counts as zeros.
pub fn avg_pool2d(x: &Tensor, geometry: &PoolGeometry) -> Result<Tensor> {
    Ok(x.avg_pool2d_with_stride((geometry.kernel[0], geometry.kernel[1]), (geometry.stride[0], geometry.stride[1]))?)
}

/// Mean over height and width: `[batch, channel, height, width]` to `[batch, channel]`.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    Ok(x.mean((2, 3))?)
}

/// Every `stride`-th pixel of `x` `[batch, channel, height, width]`, with zero channels appended up to `channels`.
pub fn pad_shortcut(x: &Tensor, stride: usize, channels: usize) -> Result<Tensor> {
    let (_, present, height, width) = x.dims4()?;
    let every = |size: usize| {
        let at: Vec<u32> = (0..size).step_by(stride).map(|i| i as u32).collect();
        let count = at.len();
        Tensor::from_vec(at, count, x.device())
    };
    let x = x.index_select(&every(height)?, 2)?.index_select(&every(width)?, 3)?;
    Ok(x.pad_with_zeros(1, 0, channels - present)?)
}
