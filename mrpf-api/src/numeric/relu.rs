//! Activation functions.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::f64::consts::FRAC_1_SQRT_2;
use std::marker::PhantomData;

use super::attached::attach1;
use super::float::{Float, PIECE, for_dtype, is_native, read, tensor, values};
use crate::Result;

/// `max(x, 0)`, with derivative 0 at 0 as in PyTorch.
///
/// Candle's derivative there is 1, through which channels that are masked to exactly zero would pass gradients on.
/// What is not a number stays so.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if !is_native(x) {
        let value = x.detach();
        let out = value.le(0.0)?.where_cond(&value.zeros_like()?, &value)?;
        return Ok(attach1("relu", x, out, |_, out, gradient| {
            Ok([Some(out.le(0.0)?.where_cond(&gradient.zeros_like()?, gradient)?)])
        })?);
    }
    for_dtype!(x, T => Ok(x.contiguous()?.apply_op1(Rectify::<T, Relu>(PhantomData))?))
}

/// `min(max(x, 0), 6)`, with derivative 0 at 0 and at 6, as PyTorch's `hardtanh` has it.
///
/// What is not a number stays so.
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    if !is_native(x) {
        let below = relu(x)?;
        return Ok(below.ge(6.0)?.where_cond(&(below.zeros_like()? + 6.0)?, &below)?);
    }
    for_dtype!(x, T => Ok(x.contiguous()?.apply_op1(Rectify::<T, Relu6>(PhantomData))?))
}

/// `x * Phi(x)` with the exact Gaussian distribution function, as PyTorch's default.
///
/// The gradient of Candle's own operation has a constant with six digits.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let below = (((x * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
    Ok((x * below)?)
}

/// A function that is a constant, then the identity, and perhaps a constant again.
trait Rectifier: Send + Sync {
    const NAME: &'static str;
    fn value<T: Float>(x: T) -> T;
    /// Whether the gradient stops, told by the output, so that the input need not be kept. What is not a number lets it pass.
    fn stops<T: Float>(out: T) -> bool;
}

struct Relu;

impl Rectifier for Relu {
    const NAME: &'static str = "relu";

    fn value<T: Float>(x: T) -> T {
        if x <= T::zero() { T::zero() } else { x }
    }

    fn stops<T: Float>(out: T) -> bool {
        out <= T::zero()
    }
}

struct Relu6;

impl Rectifier for Relu6 {
    const NAME: &'static str = "relu6";

    fn value<T: Float>(x: T) -> T {
        let six = T::from_f64(6.0);
        if x <= T::zero() {
            T::zero()
        } else if x >= six {
            six
        } else {
            x
        }
    }

    fn stops<T: Float>(out: T) -> bool {
        out <= T::zero() || out >= T::from_f64(6.0)
    }
}

struct Rectify<T, R>(PhantomData<(T, R)>);

impl<T: Float, R: Rectifier> CustomOp1 for Rectify<T, R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values::<T>(x, layout)?;
        let mut out = vec![T::zero(); x.len()];
        out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = R::value(*x));
        });
        Ok((T::to_cpu_storage_owned(out), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, out: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let by_x = read::<T, _>(out, |out| {
            read::<T, _>(gradient, |gradient| {
                let mut by_x = vec![T::zero(); out.len()];
                let pieces = out.par_chunks(PIECE).zip(gradient.par_chunks(PIECE));
                by_x.par_chunks_mut(PIECE).zip(pieces).for_each(|(by_x, (out, gradient))| {
                    for ((by_x, out), gradient) in by_x.iter_mut().zip(out).zip(gradient) {
                        // Loaded in any case, so that this becomes a selection without a branch.
                        let (out, gradient) = (*out, *gradient);
                        *by_x = if R::stops(out) { T::zero() } else { gradient };
                    }
                });
                Ok(by_x)
            })
        })?;
        Ok(Some(tensor(by_x, out.shape())?))
    }
}
