//! What is relied on to be wrong in Candle 0.11.1: should one of these tests fail, a reason for an operation of our
//! own is gone.

use candle_core::{DType, Device, Tensor, Var};

use super::values;
use crate::Result;
use crate::numeric::PoolGeometry;
use crate::numeric::max_pool2d;

#[test]
fn candles_max_pooling_still_scales_its_gradient_by_the_window() -> Result<()> {
    let x = Var::from_tensor(&Tensor::arange(0.0_f64, 16.0, &Device::Cpu)?.reshape((1, 1, 4, 4))?)?;
    let gradient_of = |y: Tensor| -> Result<Vec<f64>> {
        let gradients = y.sum_all()?.backward()?;
        gradients.get(&x).map_or(Ok(Vec::new()), values)
    };
    let (own, candle) = (gradient_of(max_pool2d(&x, &PoolGeometry::square(2))?)?, gradient_of(x.max_pool2d(2)?)?);
    assert_eq!(own[5], 1.0);
    assert_eq!(candle[5], 0.25, "Candle's max pooling has another gradient than it used to");
    Ok(())
}

#[test]
fn candle_still_computes_gradients_of_constants() -> Result<()> {
    let x = Var::new(&[[1.0_f64, 2.0]], &Device::Cpu)?;
    let constant = Tensor::new(&[[3.0_f64], [4.0]], &Device::Cpu)?;
    let gradients = x.matmul(&constant)?.sum_all()?.backward()?;
    assert!(gradients.get(&constant).is_some(), "Candle leaves constants alone now");
    Ok(())
}

#[test]
fn candles_convolution_still_has_no_gradient_where_the_axes_leave_different_rests() -> Result<()> {
    // Of 6 rows the last is read by no window of 3 rows at stride 2; of 5 columns all are read.
    let x = Var::from_tensor(&Tensor::ones((1, 1, 6, 5), DType::F64, &Device::Cpu)?)?;
    let weight = Tensor::ones((1, 1, 3, 3), DType::F64, &Device::Cpu)?;
    assert!(x.conv2d(&weight, 0, 2, 1, 1)?.sum_all()?.backward().is_err(), "Candle computes this gradient now");
    Ok(())
}

#[test]
fn candles_relu_still_has_derivative_one_at_zero() -> Result<()> {
    let x = Var::new(&[0.0_f64], &Device::Cpu)?;
    let gradients = x.relu()?.sum_all()?.backward()?;
    assert_eq!(gradients.get(&x).map(values).transpose()?, Some(vec![1.0]));
    Ok(())
}
