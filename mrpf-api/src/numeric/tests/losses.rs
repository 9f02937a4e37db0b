use candle_core::{D, Device, Tensor};
use proptest::prelude::*;

use super::values;
use crate::Result;
use crate::numeric::gradient_check::{check, check_passed, normal};
use crate::numeric::loss::{
    correct, cross_entropy, cross_entropy_per_image, kl_divergence_per_image, log_softmax, per_image_values,
    predictions,
};

fn labels(batch: usize, classes: usize) -> Result<Tensor> {
    Ok(Tensor::from_iter((0..batch).map(|image| (image * 5 % classes) as u32), &Device::Cpu)?)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_agree_with_finite_differences(batch in 1..=4_usize, classes in 2..=6_usize, smoothing in 0.0..0.5) {
        let (p, q) = (normal("p", &[batch, classes])?, normal("q", &[batch, classes])?);
        let labels = labels(batch, classes)?;
        check_passed(check(std::slice::from_ref(&p), |x| log_softmax(&x[0])))?;
        check_passed(check(std::slice::from_ref(&p), |x| cross_entropy_per_image(&x[0], &labels)))?;
        check_passed(check(std::slice::from_ref(&p), |x| cross_entropy(&x[0], &labels, smoothing)))?;
        check_passed(check(&[p, q], |x| kl_divergence_per_image(&x[0], &x[1])))?;
    }

    #[test]
    fn probabilities_sum_to_one_wherever_the_logits_are(
        batch in 1..=4_usize,
        classes in 2..=6_usize,
        shift in -1e4..1e4,
    ) {
        let logits = normal("p", &[batch, classes])?.affine(1.0, shift)?;
        for sum in values(&log_softmax(&logits)?.exp()?.sum(D::Minus1)?)? {
            prop_assert!((sum - 1.0).abs() < 1e-10);
        }
    }

    #[test]
    fn a_divergence_is_positive_and_zero_from_itself(batch in 1..=4_usize, classes in 2..=6_usize) {
        let (p, q) = (normal("p", &[batch, classes])?, normal("q", &[batch, classes])?);
        prop_assert!(per_image_values(&kl_divergence_per_image(&p, &q)?)?.iter().all(|kl| *kl > 0.0));
        prop_assert!(per_image_values(&kl_divergence_per_image(&p, &p)?)?.iter().all(|kl| *kl == 0.0));
    }
}

#[test]
fn cross_entropy_is_the_negative_logarithm_of_the_label() -> Result<()> {
    let logits = Tensor::new(&[[0.0_f64, 3.0_f64.ln()], [0.0, 0.0]], &Device::Cpu)?;
    let labels = Tensor::new(&[1_u32, 0], &Device::Cpu)?;
    let [first, second] = [(4.0_f64 / 3.0).ln(), 2.0_f64.ln()];
    let each = per_image_values(&cross_entropy_per_image(&logits, &labels)?)?;
    assert!((each[0] - first).abs() < 1e-12 && (each[1] - second).abs() < 1e-12);
    // Smoothing by 0.5 puts 3/4 on the label and 1/4 on the other class.
    let other = 4.0_f64.ln();
    let expected = (0.75 * first + 0.25 * other + second) / 2.0;
    assert!((cross_entropy(&logits, &labels, 0.5)?.to_scalar::<f64>()? - expected).abs() < 1e-12);
    Ok(())
}

#[test]
fn extreme_logits_give_numbers() -> Result<()> {
    let logits = Tensor::new(&[[1e4_f32, -1e4], [0.0, 3e4]], &Device::Cpu)?;
    let labels = Tensor::new(&[1_u32, 1], &Device::Cpu)?;
    assert_eq!(per_image_values(&cross_entropy_per_image(&logits, &labels)?)?, [2e4, 0.0]);
    let flat = logits.zeros_like()?;
    assert!(per_image_values(&kl_divergence_per_image(&logits, &flat)?)?.iter().all(|kl| kl.is_finite()));
    Ok(())
}

#[test]
fn what_is_not_a_number_is_nobodys_prediction() -> Result<()> {
    let logits = Tensor::new(&[[1.0_f32, f32::NAN], [2.0, 2.0], [0.0, 1.0]], &Device::Cpu)?;
    assert_eq!(predictions(&logits)?, [u32::MAX, 0, 1]);
    assert_eq!(correct(&logits, &Tensor::new(&[0_u32, 0, 0], &Device::Cpu)?)?, [false, true, false]);
    let loss = cross_entropy(&logits, &Tensor::new(&[0_u32, 0, 0], &Device::Cpu)?, 0.0)?;
    assert!(loss.to_scalar::<f32>()?.is_nan());
    Ok(())
}

#[test]
fn a_label_beyond_the_classes_is_refused() -> Result<()> {
    let logits = normal("p", &[2, 3])?;
    assert!(cross_entropy(&logits, &Tensor::new(&[0_u32, 3], &Device::Cpu)?, 0.0).is_err());
    Ok(())
}
