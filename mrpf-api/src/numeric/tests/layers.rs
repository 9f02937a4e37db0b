//! Linear layers, activations, and how layers are joined.

use candle_core::{D, Device, Tensor, Var};
use proptest::prelude::*;

use super::{distance, off_zero, values};
use crate::Result;
use crate::numeric::gradient_check::{check, check_passed, normal};
use crate::numeric::{gelu, linear, relu, relu6, silu};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn linear_layers_are_products(batch in 1..=70_usize, inputs in 1..=9_usize, outputs in 1..=40_usize) {
        let (x, weight) = (normal("x", &[batch, inputs])?, normal("w", &[outputs, inputs])?);
        let bias = normal("b", &[outputs])?;
        let expected = x.matmul(&weight.t()?)?.broadcast_add(&bias)?;
        prop_assert!(distance(&linear(&x, &weight, Some(&bias))?, &expected)? < 1e-12);
    }

    #[test]
    fn linear_gradients_agree_with_finite_differences(
        batch in 1..=5_usize,
        inputs in 1..=5_usize,
        outputs in 1..=40_usize,
    ) {
        let tensors = [normal("x", &[batch, inputs])?, normal("w", &[outputs, inputs])?, normal("b", &[outputs])?];
        check_passed(check(&tensors, |x| linear(&x[0], &x[1], Some(&x[2]))))?;
        check_passed(check(&tensors[..2], |x| linear(&x[0], &x[1], None)))?;
    }

    #[test]
    fn activation_gradients_agree_with_finite_differences(length in 1..=40_usize) {
        let x = off_zero("x", &[2, length])?;
        for activation in [relu, relu6, silu, gelu] {
            check_passed(check(std::slice::from_ref(&x), |x| activation(&x[0])))?;
            // Of a view, which the operations must read in its own order.
            check_passed(check(std::slice::from_ref(&x), |x| activation(&x[0].t()?)))?;
        }
    }
}

#[test]
fn linear_gradients_agree_across_blocks_of_rows() -> Result<()> {
    let tensors = [normal("x", &[67, 3])?, normal("w", &[35, 3])?];
    check(&tensors, |x| linear(&x[0], &x[1], None))
}

#[test]
fn a_linear_layer_of_other_sizes_is_refused() -> Result<()> {
    let x = normal("x", &[2, 3])?;
    assert!(linear(&x, &normal("w", &[4, 2])?, None).is_err());
    assert!(linear(&x.get(0)?, &normal("w", &[4, 3])?, None).is_err());
    Ok(())
}

#[test]
fn relu_has_derivative_zero_at_zero() -> Result<()> {
    let x = Var::new(&[-1.0_f32, -0.0, 0.0, 1e-30, 2.0], &Device::Cpu)?;
    let y = relu(&x)?;
    assert_eq!(values(&y)?[..3], [0.0; 3]);
    let gradients = y.sum_all()?.backward()?;
    assert_eq!(gradients.get(&x).map(values).transpose()?, Some(vec![0.0, 0.0, 0.0, 1.0, 1.0]));
    Ok(())
}

#[test]
fn relu6_is_flat_from_its_corners_on() -> Result<()> {
    let x = Var::new(&[-1.0_f32, 0.0, 1e-30, 3.0, 5.999, 6.0, 7.0, f32::INFINITY], &Device::Cpu)?;
    let y = relu6(&x)?;
    assert_eq!(values(&y)?[3..], [3.0, f64::from(5.999_f32), 6.0, 6.0, 6.0]);
    let gradients = y.sum_all()?.backward()?;
    let expected = vec![0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    assert_eq!(gradients.get(&x).map(values).transpose()?, Some(expected));
    assert!(values(&relu6(&Tensor::new(&[f32::NAN], &Device::Cpu)?)?)?[0].is_nan());
    Ok(())
}

#[test]
fn gelu_and_its_gradient_are_exact() -> Result<()> {
    let x = Var::new(&[1.0_f64, -2.0, 0.5], &Device::Cpu)?;
    let y = gelu(&x)?;
    let gradient = y.sum_all()?.backward()?.get(&x).map(values).transpose()?.unwrap_or_default();
    // x Phi(x), and Phi(x) + x phi(x).
    for (found, expected) in [
        (values(&y)?, [0.8413447460685429, -0.04550026389635844, 0.34573123063700656]),
        (gradient, [1.0833154705876864, -0.0852318010781969, 0.8674951246561629]),
    ] {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, expected {expected:?}");
    }
    Ok(())
}

#[test]
fn activations_keep_what_is_not_a_number() -> Result<()> {
    let x = Tensor::new(&[f32::NAN, f32::INFINITY], &Device::Cpu)?;
    for activation in [relu, silu, gelu] {
        let y = values(&activation(&x)?)?;
        assert!(y[0].is_nan() && y[1] == f64::INFINITY, "{y:?}");
    }
    assert_eq!(values(&relu(&Tensor::new(&[f32::NEG_INFINITY], &Device::Cpu)?)?)?, [0.0]);
    Ok(())
}

#[test]
fn joining_layers_has_the_right_gradients() -> Result<()> {
    let tensors = [normal("a", &[2, 3, 2, 2])?, normal("b", &[2, 1, 2, 2])?, normal("c", &[2, 3, 2, 2])?];
    check(&tensors[..2], |x| Ok(Tensor::cat(x, 1)?))?;
    check(&[tensors[0].clone(), tensors[2].clone()], |x| Ok((&x[0] + &x[1])?))?;
    check(&tensors[..1], |x| Ok((&x[0] + &x[0])?))?;
    check(&tensors[..1], |x| Ok(x[0].contiguous()?.flatten(1, D::Minus1)?))?;
    check(&tensors[..1], |x| Ok(x[0].transpose(1, 2)?.contiguous()?.flatten(1, D::Minus1)?))
}
