//! Each operation that networks are made of: its values by definition, its gradients by finite differences.

mod batch_norm;
mod candle;
mod composed;
mod elsewhere;
mod layers;
mod losses;
mod network;
mod pooling;
mod tokens;

use candle_core::Tensor;

use super::gradient_check::normal;
use crate::Result;

/// Normal values, none of them near zero, so that a finite difference does not step over a kink there.
fn off_zero(name: &str, shape: &[usize]) -> Result<Tensor> {
    let x = normal(name, shape)?;
    Ok((x.sign()? * (x.abs()? + 0.05)?)?)
}

/// Values that all differ by at least 0.1, in a random order, so that a finite difference does not change which is
/// largest.
fn distinct(name: &str, shape: &[usize]) -> Result<Tensor> {
    let x = normal(name, shape)?.flatten_all()?;
    let ranks = x.arg_sort_last_dim(true)?.arg_sort_last_dim(true)?;
    Ok((ranks.to_dtype(candle_core::DType::F64)? * 0.1)?.reshape(shape)?)
}

fn values(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Largest difference of two tensors.
fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.dims(), b.dims());
    Ok(values(&(a - b)?.abs()?)?.into_iter().fold(0.0, |largest, value| if value <= largest { largest } else { value }))
}
