//! Fully connected layer.

use candle_core::Tensor;

use crate::Result;

/// `x W^T + b` for `x` `[batch, in]`, `weight` `[out, in]` and `bias` `[out]`; gives `[batch, out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let out = x.matmul(&weight.t()?)?;
    match bias {
        None => Ok(out),
        Some(bias) => Ok(out.broadcast_add(bias)?),
    }
}
