//! One step: the weights are perturbed if the trainer asks, the loss is differentiated, the optimiser moves the weights.

use mrpf_api::data::Batch;
use mrpf_api::network::{Network, Weights};
use mrpf_api::numeric::InF64;
use mrpf_api::trainer::{AdversarialTrainer, TrainingLoss, TrainingStep};
use mrpf_api::{Error, ErrorKind, Result};

use super::sgd::Sgd;

/// Trains on a batch once and gives the value of its loss, and what the trainer told of it.
///
/// As in the reference code of adversarial weight perturbation (Wu et al. 2020) the optimiser's step is computed at the perturbed
/// weights, weight decay included. There the perturbation is subtracted after the step, which leaves rounding errors of f32 behind;
/// here the saved weights are put back and then moved, which is the same but for those.
///
/// # Errors
/// [`ErrorKind::Numeric`] if the loss is not finite or has no gradient with respect to a parameter.
pub(crate) fn train_step(
    trainer: &mut dyn AdversarialTrainer,
    network: &Network,
    sgd: &mut Sgd,
    step: &TrainingStep<'_>,
    batch: &Batch,
    learning_rate: f64,
) -> Result<(f64, TrainingLoss)> {
    let perturbation = trainer.perturb_weights(step, network, batch)?.unwrap_or_default();
    let unperturbed = add(network, &perturbation)?;
    let result = trainer.loss(step, network, batch)?;
    let value = result.loss.in_f64()?.to_scalar::<f64>()?;
    if !value.is_finite() {
        let hint = "the training has diverged: lower learning_rate.peak, or set clip";
        return Err(Error::new(ErrorKind::Numeric, format!("the loss is {value}")).hint(hint));
    }
    let gradients = result.loss.backward()?;
    trainer.after_backward(step, &gradients)?;
    if unperturbed.is_empty() {
        sgd.step(network, &gradients, learning_rate)?;
        return Ok((value, result));
    }
    let directions = sgd.directions(network, &gradients)?;
    for (name, weight) in &unperturbed {
        network.parameter(name)?.set(weight)?;
    }
    Sgd::descend(network, directions, learning_rate)?;
    Ok((value, result))
}

/// Adds offsets to the parameters that they name, and gives copies of those parameters as they were.
fn add(network: &Network, offsets: &Weights) -> Result<Weights> {
    let mut before = Weights::new();
    for (name, offset) in offsets {
        let variable = network.parameter(name)?;
        before.insert(name.clone(), variable.as_detached_tensor().copy()?);
        variable.set(&(variable.as_detached_tensor() + offset)?)?;
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::PluginChoice;
    use crate::training::TrainingSettings;
    use mrpf_api::candle_core::DType;
    use mrpf_test_support::{Fixture, assert_family, largest_difference, resnet8, step};

    fn awp() -> Result<Box<dyn AdversarialTrainer>> {
        PluginChoice::named("awp").with("start", "clean").make::<dyn AdversarialTrainer>()
    }

    #[test]
    fn perturbed_steps_with_momentum_and_weight_decay_are_those_of_the_original_code() -> Result<()> {
        let ((network, batch), recorded) = (resnet8()?, Fixture::load("awp_decay")?);
        let settings =
            TrainingSettings { weight_decay: 0.05, decay_norm_and_bias: true, ..TrainingSettings::default() };
        let (mut trainer, mut sgd) = (awp()?, Sgd::new(&settings));
        for at in 0..2 {
            let (value, _) = train_step(trainer.as_mut(), &network, &mut sgd, &step(0, at), &batch, 0.1)?;
            assert!((value - recorded.number(&format!("loss.{at}"))?).abs() < 1e-9);
        }
        assert_family("parameters", &network.snapshot()?, &recorded.family("parameters"), 1e-9)?;
        assert_family("statistics", &network.statistics(), &recorded.family("statistics"), 1e-9)
    }

    #[test]
    fn no_bit_of_the_perturbation_stays_in_the_weights() -> Result<()> {
        let (network, batch) = resnet8()?;
        let network = network.to_dtype(DType::F32)?;
        let batch = Batch { images: batch.images.to_dtype(DType::F32)?, ..batch };
        let before = network.snapshot()?;
        let mut sgd = Sgd::new(&TrainingSettings::default());
        let (mut trainer, step) = (awp()?, step(0, 0));
        let offset = trainer.perturb_weights(&step, &network, &batch)?.unwrap_or_default();
        train_step(trainer.as_mut(), &network, &mut sgd, &step, &batch, 0.0)?;
        let mut lost = 0.0f64;
        for (name, weight) in &before {
            assert_eq!(largest_difference(weight, &network.parameter(name)?.as_detached_tensor())?, 0.0, "{name}");
            if let Some(offset) = offset.get(name) {
                lost = lost.max(largest_difference(&((weight + offset)? - offset)?, weight)?);
            }
        }
        assert!(lost > 0.0, "adding and subtracting would have lost nothing, so this shows nothing");
        Ok(())
    }
}
