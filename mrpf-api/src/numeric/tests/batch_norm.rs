use candle_core::{DType, Tensor};
use proptest::prelude::*;

use super::{distance, values};
use crate::numeric::gradient_check::{check, check_passed, normal};
use crate::numeric::{batch_norm_eval, batch_norm_train, normalize};
use crate::{ErrorKind, Result};

const EPSILON: f64 = 1e-5;

/// Values, scale and shift of a batch normalisation.
fn tensors(shape: [usize; 4]) -> Result<[Tensor; 3]> {
    let x = ((normal("x", &shape)? * 1.5)? + 0.7)?;
    Ok([x, (normal("scale", &shape[1..2])? + 1.0)?, normal("shift", &shape[1..2])?])
}

fn of_train(x: &[Tensor]) -> Result<Tensor> {
    Ok(batch_norm_train(&x[0], &x[1], &x[2], EPSILON)?.0)
}

prop_compose! {
    fn any_shape()(batch in 2..=4_usize, channels in 1..=4_usize, size in [1..=5_usize, 1..=5_usize]) -> [usize; 4] {
        [batch, channels, size[0], size[1]]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn training_gradients_agree_with_finite_differences(shape in any_shape()) {
        // Two values per channel normalise to -1 and 1 whatever they are; only epsilon makes the gradient, of nearly
        // zero.
        check_passed(tensors(shape).and_then(|tensors| check(&tensors, of_train)))?;
    }

    #[test]
    fn evaluation_gradients_agree_with_finite_differences(shape in any_shape()) {
        let mean = normal("mean", &shape[1..2])?;
        let variance = normal("variance", &shape[1..2])?.abs()?.affine(1.0, 0.1)?;
        let evaluate = |x: &[Tensor]| batch_norm_eval(&x[0], &x[1], &x[2], &mean, &variance, EPSILON);
        check_passed(tensors(shape).and_then(|tensors| check(&tensors, evaluate)))?;
    }

    #[test]
    fn a_normalised_batch_has_mean_zero_and_variance_one(shape in any_shape()) {
        let [x, _, _] = tensors(shape)?;
        let ones = Tensor::ones(shape[1], DType::F64, x.device())?;
        let zeros = ones.zeros_like()?;
        let (y, statistics) = batch_norm_train(&x, &ones, &zeros, 0.0)?;
        prop_assert_eq!(statistics.count, shape[0] * shape[2] * shape[3]);
        let (_, again) = batch_norm_train(&y, &ones, &zeros, 0.0)?;
        prop_assert!(distance(&again.mean, &zeros)? < 1e-10 && distance(&again.variance, &ones)? < 1e-10);
    }
}

#[test]
fn f32_agrees_with_f64_even_far_from_zero() -> Result<()> {
    let [x, scale, shift] = tensors([8, 3, 33, 17])?;
    let x = (x + 100.0)?;
    let (expected, statistics) = batch_norm_train(&x, &scale, &shift, EPSILON)?;
    let single = |x: &Tensor| x.to_dtype(DType::F32);
    let (found, found_statistics) = batch_norm_train(&single(&x)?, &single(&scale)?, &single(&shift)?, EPSILON)?;
    // f32 numbers near 100 are 8e-6 apart, against a deviation of 1.5.
    assert!(distance(&found.to_dtype(DType::F64)?, &expected)? < 1e-4);
    assert!(distance(&found_statistics.variance.to_dtype(DType::F64)?, &statistics.variance)? < 1e-5);
    Ok(())
}

#[test]
fn one_value_per_channel_is_refused() -> Result<()> {
    let [x, scale, shift] = tensors([1, 2, 1, 1])?;
    let error = batch_norm_train(&x, &scale, &shift, EPSILON).err().map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::Numeric));
    Ok(())
}

#[test]
fn parameters_of_another_number_of_channels_are_refused() -> Result<()> {
    let [x, scale, _] = tensors([2, 3, 2, 2])?;
    assert!(batch_norm_train(&x, &scale, &normal("shift", &[2])?, EPSILON).is_err());
    assert!(batch_norm_eval(&x, &scale, &scale, &scale, &normal("variance", &[4])?, EPSILON).is_err());
    assert!(normalize(&x, &[0.0; 3], &[1.0; 2]).is_err());
    Ok(())
}

#[test]
fn what_is_not_a_number_reaches_the_output() -> Result<()> {
    let [x, scale, shift] = tensors([2, 2, 2, 2])?;
    let bad = Tensor::full(f64::NAN, (2, 2, 2, 2), x.device())?;
    assert!(values(&batch_norm_train(&bad, &scale, &shift, EPSILON)?.0)?.iter().all(|y| y.is_nan()));
    let ones = Tensor::ones(2, DType::F64, x.device())?;
    assert!(values(&batch_norm_eval(&bad, &scale, &shift, &ones, &ones, EPSILON)?)?.iter().all(|y| y.is_nan()));
    Ok(())
}

#[test]
fn normalising_subtracts_the_mean_and_divides_by_the_deviation() -> Result<()> {
    let x = normal("x", &[2, 3, 4, 5])?;
    let (mean, std) = ([0.1, -0.2, 0.3], [0.5, 2.0, 0.25]);
    let found = values(&normalize(&x, &mean, &std)?)?;
    for (at, (found, x)) in found.iter().zip(values(&x)?).enumerate() {
        let channel = at / 20 % 3;
        assert!((found - (x - mean[channel]) / std[channel]).abs() < 1e-12);
    }
    check(&[x], |x| normalize(&x[0], &mean, &std))
}
