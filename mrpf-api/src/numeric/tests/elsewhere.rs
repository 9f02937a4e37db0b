//! Where the kernels here do not compute, Candle's operations do; half precision on the CPU stands for all such places.

use candle_core::{DType, Tensor, Var};

use super::{distance, distinct};
use crate::Result;
use crate::numeric::gradient_check::normal;
use crate::numeric::{
    ConvGeometry, PoolGeometry, attention, avg_pool2d, batch_norm_eval, batch_norm_train, conv2d, fold, layer_norm,
    linear, max_pool2d, normalize, relu, relu6, resize, silu, unfold,
};

/// Checks that an operation and its gradients in half precision are those in f64, up to a share of `tolerance` of the
/// largest value. Half precision has 11 bits: 5e-4 per rounding.
fn check_half(inputs: &[Tensor], operation: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let with_gradients = |dtype: DType| -> Result<Vec<Tensor>> {
        let variables =
            inputs.iter().map(|x| Ok(Var::from_tensor(&x.to_dtype(dtype)?)?)).collect::<Result<Vec<_>>>()?;
        let tracked: Vec<_> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
        let out = operation(&tracked)?;
        assert_eq!(out.dtype(), dtype);
        let weights = normal("weights of the sum", out.dims())?.to_dtype(dtype)?;
        let gradients = (&out * weights)?.sum_all()?.backward()?;
        let tensors = variables.iter().filter_map(|variable| gradients.get(variable)).chain([&out]);
        tensors.map(|tensor| Ok(tensor.to_dtype(DType::F64)?)).collect()
    };
    let (half, double) = (with_gradients(DType::F16)?, with_gradients(DType::F64)?);
    assert_eq!((half.len(), double.len()), (inputs.len() + 1, inputs.len() + 1));
    for (half, double) in half.iter().zip(&double) {
        let largest = distance(double, &double.zeros_like()?)?;
        assert!(distance(half, double)? < 1e-2 * largest.max(1.0), "{half} {double}");
    }
    Ok(())
}

#[test]
fn other_element_types_give_the_same_functions() -> Result<()> {
    let (x, weight, bias) = (normal("x", &[2, 4, 7, 6])?, normal("w", &[6, 2, 3, 3])?, normal("b", &[6])?);
    for padding in [[1, 1], [0, 2]] {
        let geometry = ConvGeometry { padding, ..ConvGeometry::square(3).stride(2).groups(2) };
        check_half(&[x.clone(), weight.clone(), bias.clone()], |x| conv2d(&x[0], &x[1], Some(&x[2]), &geometry))?;
    }
    let (scale, shift) = (normal("scale", &[4])?, normal("shift", &[4])?);
    let norm = [x.clone(), scale.clone(), shift.clone()];
    check_half(&norm, |x| Ok(batch_norm_train(&x[0], &x[1], &x[2], 1e-5)?.0))?;
    let (mean, variance) = (normal("mean", &[4])?, (normal("variance", &[4])?.abs()? + 0.5)?);
    check_half(&norm, |x| {
        let (mean, variance) = (mean.to_dtype(x[0].dtype())?, variance.to_dtype(x[0].dtype())?);
        batch_norm_eval(&x[0], &x[1], &x[2], &mean, &variance, 1e-5)
    })?;
    check_half(std::slice::from_ref(&x), |x| normalize(&x[0], &[0.1, 0.2, 0.3, 0.4], &[0.5, 1.0, 2.0, 0.25]))?;
    check_half(std::slice::from_ref(&x), |x| relu(&x[0]))?;
    check_half(&[(&x * 6.0)?], |x| relu6(&x[0]))?;
    check_half(&[normal("rows", &[3, 5])?, normal("matrix", &[4, 5])?], |x| linear(&x[0], &x[1], None))?;
    let pool = PoolGeometry { kernel: [3, 2], stride: [2, 1], padding: [1, 0] };
    check_half(&[distinct("x", &[1, 2, 7, 6])?], |x| max_pool2d(&x[0], &pool))?;
    check_half(std::slice::from_ref(&x), |x| avg_pool2d(&x[0], &pool))?;
    check_half(std::slice::from_ref(&x), |x| silu(&x[0]))?;
    check_half(std::slice::from_ref(&x), |x| resize(&x[0], [5, 9]))?;
    check_half(&[x.narrow(2, 0, 6)?], |x| unfold(&x[0], [3, 2]))?;
    let tokens = normal("tokens", &[2, 6, 6, 4])?;
    check_half(std::slice::from_ref(&tokens), |x| fold(&x[0], [3, 2], [6, 6]))?;
    check_half(&[tokens.clone(), scale, shift], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5))?;
    let all = [tokens, normal("keys", &[2, 6, 6, 4])?, normal("values", &[2, 6, 6, 6])?];
    check_half(&all, |x| attention([&x[0], &x[1], &x[2]], 2, 0.5))
}

#[test]
fn unequal_strides_are_refused_where_candle_cannot() -> Result<()> {
    let (x, weight) =
        (normal("x", &[1, 2, 5, 5])?.to_dtype(DType::F16)?, normal("w", &[2, 2, 3, 3])?.to_dtype(DType::F16)?);
    let geometry = ConvGeometry { stride: [1, 2], ..ConvGeometry::same3() };
    assert!(conv2d(&x, &weight, None, &geometry).is_err());
    Ok(())
}
