//! Two-dimensional convolution.

use candle_core::Tensor;

use super::ConvGeometry;
use crate::Result;

/// Convolution of `images` `[batch, in, height, width]` with `weight` `[out, in / groups, kernel height, kernel width]`, plus
/// `bias` `[out]` where given; gives `[batch, out, height', width']`.
pub fn conv2d(images: &Tensor, weight: &Tensor, bias: Option<&Tensor>, geometry: &ConvGeometry) -> Result<Tensor> {
    let ConvGeometry { stride, padding, groups, .. } = *geometry;
    let out = images.conv2d(weight, padding[0], stride[0], 1, groups)?;
    match bias {
        None => Ok(out),
        Some(bias) => Ok(out.broadcast_add(&bias.reshape((1, (), 1, 1))?)?),
    }
}
