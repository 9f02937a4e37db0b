//! Fully connected layer.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

use super::attached::attach2;
use super::float::{Float, for_dtype, is_native, read, tensor, values};
use super::gemm::{Matrix, Onto, product};
use crate::{Error, ErrorKind, Result};

/// `x W^T + b` for `x` `[.., in]`, `weight` `[out, in]` and `bias` `[out]`; gives `[.., out]`.
///
/// # Errors
/// [`ErrorKind::Tensor`] if the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if x.rank() > 2 {
        let (rows, inputs) = (x.elem_count() / x.dim(D::Minus1)?.max(1), x.dim(D::Minus1)?);
        let out = linear(&x.contiguous()?.reshape((rows, inputs))?, weight, bias)?;
        let dims: Vec<usize> = x.dims()[..x.rank() - 1].iter().copied().chain([out.dim(1)?]).collect();
        return Ok(out.reshape(dims)?);
    }
    let (&[batch, inputs], &[outputs, expected]) = (x.dims(), weight.dims()) else {
        return Err(mismatch(x, weight));
    };
    if inputs != expected || batch * inputs * outputs == 0 {
        return Err(mismatch(x, weight));
    }
    let out = match is_native(x) {
        false => {
            let out = x.detach().matmul(&weight.detach().t()?)?;
            attach2("linear", [x, weight], out, |[x, weight], _, gradient| {
                let by_x = || gradient.matmul(&weight.detach());
                let by_weight = || gradient.t()?.matmul(&x.detach());
                Ok([x.track_op().then(by_x).transpose()?, weight.track_op().then(by_weight).transpose()?])
            })?
        }
        true => for_dtype!(x, T => {
            let operation = Linear::<T> { batch, inputs, outputs, element: PhantomData };
            x.contiguous()?.apply_op2(&weight.contiguous()?, operation)?
        }),
    };
    match bias {
        None => Ok(out),
        Some(bias) => Ok(out.broadcast_add(bias)?),
    }
}

fn mismatch(x: &Tensor, weight: &Tensor) -> Error {
    let message = format!("a linear layer of weight {:?} on values {:?}", weight.dims(), x.dims());
    Error::new(ErrorKind::Tensor, message).hint("expected values [.., in] and weight [out, in]")
}

struct Linear<T> {
    batch: usize,
    inputs: usize,
    outputs: usize,
    element: PhantomData<T>,
}

/// Rows of a result per task, the same on any machine.
const ROWS: usize = 32;

/// `left * right` for left factors `[rows, inner]` that `left_rows` gives for a range of rows; in blocks of rows.
fn blocks<'a, T: Float>(
    [rows, columns]: [usize; 2],
    left_rows: impl Fn(usize, usize) -> Matrix<'a, T> + Sync,
    right: Matrix<'_, T>,
) -> Vec<T> {
    let mut out = vec![T::zero(); rows * columns];
    out.par_chunks_mut(ROWS * columns).enumerate().for_each(|(block, out)| {
        product(out, Onto::Nothing, left_rows(block * ROWS, out.len() / columns), right);
    });
    out
}

impl<T: Float> CustomOp2 for Linear<T> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let Self { batch, inputs, outputs, .. } = *self;
        let (x, weight) = (values::<T>(x, x_layout)?, values::<T>(weight, weight_layout)?);
        let right = Matrix::new(weight, [outputs, inputs], inputs).transposed();
        let left = |row: usize, count: usize| Matrix::new(&x[row * inputs..], [count, inputs], inputs);
        let out = blocks([batch, outputs], left, right);
        Ok((T::to_cpu_storage_owned(out), Shape::from((batch, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let Self { batch, inputs, outputs, .. } = *self;
        let by_x = || {
            let values = read::<T, _>(weight, |weight| {
                read::<T, _>(gradient, |gradient| {
                    let left =
                        |row: usize, count: usize| Matrix::new(&gradient[row * outputs..], [count, outputs], outputs);
                    Ok(blocks([batch, inputs], left, Matrix::new(weight, [outputs, inputs], inputs)))
                })
            })?;
            tensor(values, (batch, inputs))
        };
        let by_weight = || {
            let values = read::<T, _>(x, |x| {
                read::<T, _>(gradient, |gradient| {
                    let left =
                        |row: usize, count: usize| Matrix::new(&gradient[row..], [batch, count], outputs).transposed();
                    Ok(blocks([outputs, inputs], left, Matrix::new(x, [batch, inputs], inputs)))
                })
            })?;
            tensor(values, (outputs, inputs))
        };
        Ok((x.track_op().then(by_x).transpose()?, weight.track_op().then(by_weight).transpose()?))
    }
}
