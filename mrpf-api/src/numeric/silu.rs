//! The activation of a value times its sigmoid.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

use super::float::{Float, PIECE, for_dtype, is_native, read, tensor, values};
use crate::Result;

/// `x * sigmoid(x)` (Hendrycks and Gimpel 2016; PyTorch's `silu`).
///
/// Candle's gradient of it makes eight tensors on the way.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    if !is_native(x) {
        return Ok(x.silu()?);
    }
    for_dtype!(x, T => Ok(x.contiguous()?.apply_op1(Silu::<T>(PhantomData))?))
}

struct Silu<T>(PhantomData<T>);

fn sigmoid<T: Float>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

impl<T: Float> CustomOp1 for Silu<T> {
    fn name(&self) -> &'static str {
        "silu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values::<T>(x, layout)?;
        let mut out = vec![T::zero(); x.len()];
        out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = *x * sigmoid(*x));
        });
        Ok((T::to_cpu_storage_owned(out), layout.shape().clone()))
    }

    /// `sigmoid(x) * (1 + x * (1 - sigmoid(x)))`.
    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let by_x = read::<T, _>(x, |x| {
            read::<T, _>(gradient, |gradient| {
                let mut by_x = vec![T::zero(); x.len()];
                let pieces = x.par_chunks(PIECE).zip(gradient.par_chunks(PIECE));
                by_x.par_chunks_mut(PIECE).zip(pieces).for_each(|(by_x, (x, gradient))| {
                    for ((by_x, x), gradient) in by_x.iter_mut().zip(x).zip(gradient) {
                        let open = sigmoid(*x);
                        *by_x = *gradient * open * (T::one() + *x * (T::one() - open));
                    }
                });
                Ok(by_x)
            })
        })?;
        Ok(Some(tensor(by_x, x.shape())?))
    }
}
