//! One step: the weights are perturbed if the trainer asks, the loss is differentiated, the optimiser moves the weights.

use mrpf_api::candle_core::DType;
use mrpf_api::data::Batch;
use mrpf_api::network::{Network, Weights};
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
pub(super) fn train_step(
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
    let value = result.loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if !value.is_finite() {
        let hint = "the training has diverged: lower learning_rate.peak, or set clip";
        return Err(Error::new(ErrorKind::Numeric, format!("the loss is {value}")).hint(hint));
    }
    let gradients = result.loss.backward()?;
    trainer.after_backward(step, &gradients)?;
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
