//! One step: the weights are perturbed if the trainer asks, the loss is differentiated, the optimiser moves the weights.

use mrpf_api::candle_core::Tensor;
use mrpf_api::data::Batch;
use mrpf_api::network::{Network, Weights};
use mrpf_api::numeric::InF64;
use mrpf_api::trainer::{AdversarialTrainer, TrainingLoss, TrainingStep};
use mrpf_api::{Error, ErrorKind, Result};

use super::sgd::{Sgd, gathered};

/// Trains on a batch once and gives the value of its loss, and the logits `[batch, class]` that the trainer trained on.
///
/// The batch comes in parts, as a rule one; gradients of several are added up, weighted by their shares of the images, so that the step is
/// that of the whole batch, but for what belongs to whole batches: batch norm normalises by each part.
///
/// As in the reference code of adversarial weight perturbation (Wu et al. 2020) the optimiser's step is computed at the perturbed
/// weights, weight decay included. There the perturbation is subtracted after the step, which leaves rounding errors of f32 behind;
/// here the saved weights are put back and then moved, which is the same but for those.
///
/// # Errors
/// [`ErrorKind::Numeric`] if the loss is not finite or has no gradient with respect to a parameter; [`ErrorKind::Settings`] if the trainer
/// perturbs the weights by a part of a batch.
pub(crate) fn train_step(
    trainer: &mut dyn AdversarialTrainer,
    network: &Network,
    sgd: &mut Sgd,
    step: &TrainingStep<'_>,
    parts: &[Batch],
    learning_rate: f64,
) -> Result<(f64, Tensor)> {
    let mut unperturbed = Weights::new();
    let found = summed(trainer, network, step, parts, &mut unperturbed);
    if unperturbed.is_empty() {
        let (value, logits, gradients) = found?;
        sgd.step_along(network, gradients, learning_rate)?;
        return Ok((value, logits));
    }
    let found = found.and_then(|(value, logits, gradients)| Ok((value, logits, sgd.directions(network, gradients)?)));
    for (name, weight) in &unperturbed {
        network.parameter(name)?.set(weight)?;
    }
    let (value, logits, directions) = found?;
    Sgd::descend(network, directions, learning_rate)?;
    Ok((value, logits))
}

/// The value of the loss of a batch, its logits, and its gradient by every parameter, at weights that the trainer may have perturbed;
/// `unperturbed` gets those as they were.
fn summed(
    trainer: &mut dyn AdversarialTrainer,
    network: &Network,
    step: &TrainingStep<'_>,
    parts: &[Batch],
    unperturbed: &mut Weights,
) -> Result<(f64, Tensor, Vec<Tensor>)> {
    if let [whole] = parts {
        let perturbation = trainer.perturb_weights(step, network, whole)?.unwrap_or_default();
        add(network, &perturbation, unperturbed)?;
        return differentiated(trainer, network, step, whole);
    }
    let images: usize = parts.iter().map(Batch::len).sum();
    let (mut value, mut logits, mut sum) = (0.0, Vec::with_capacity(parts.len()), Vec::<Tensor>::new());
    for part in parts {
        if trainer.perturb_weights(step, network, part)?.is_some_and(|perturbation| !perturbation.is_empty()) {
            let message = "the trainer perturbs the weights by whole batches, and this one goes through in parts";
            return Err(Error::new(ErrorKind::Settings, message).hint("a smaller `batch` goes through whole"));
        }
        let share = part.len() as f64 / images as f64;
        let (of_part, part_logits, gradients) = differentiated(trainer, network, step, part)?;
        value += share * of_part;
        logits.push(part_logits);
        for (at, gradient) in gradients.into_iter().enumerate() {
            let weighted = (gradient * share)?;
            match sum.get_mut(at) {
                Some(sum) => *sum = (&*sum + weighted)?,
                None => sum.push(weighted),
            }
        }
    }
    Ok((value, Tensor::cat(&logits, 0)?, sum))
}

/// The value of the loss of a batch, its logits, and its gradient by every parameter. What the way back needed is gone then.
fn differentiated(
    trainer: &mut dyn AdversarialTrainer,
    network: &Network,
    step: &TrainingStep<'_>,
    batch: &Batch,
) -> Result<(f64, Tensor, Vec<Tensor>)> {
    let TrainingLoss { loss, logits } = trainer.loss(step, network, batch)?;
    let value = loss.in_f64()?.to_scalar::<f64>()?;
    if !value.is_finite() {
        let hint = "the training has diverged: lower learning_rate.peak, or set clip";
        return Err(Error::new(ErrorKind::Numeric, format!("the loss is {value}")).hint(hint));
    }
    let gradients = loss.backward()?;
    trainer.after_backward(step, &gradients)?;
    Ok((value, logits, gathered(network, &gradients)?))
}

/// Adds offsets to the parameters that they name; `before` gets copies of those parameters as they were.
fn add(network: &Network, offsets: &Weights, before: &mut Weights) -> Result<()> {
    for (name, offset) in offsets {
        let variable = network.parameter(name)?;
        before.insert(name.clone(), variable.as_detached_tensor().copy()?);
        variable.set(&(variable.as_detached_tensor() + offset)?)?;
    }
    Ok(())
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
            let (value, _) =
                train_step(trainer.as_mut(), &network, &mut sgd, &step(0, at), std::slice::from_ref(&batch), 0.1)?;
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
        train_step(trainer.as_mut(), &network, &mut sgd, &step, &[batch], 0.0)?;
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
