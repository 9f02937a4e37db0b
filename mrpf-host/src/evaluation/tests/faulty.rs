//! An honest linear classifier, the same with one fault each, and attacks to try them with.

use mrpf_api::attack::{Ascent, Attack, AttackMeans, AttackOutcome, AttackPart, Start, ThreatModel, ascend};
use mrpf_api::candle_core::{D, Tensor};
use mrpf_api::context::CallContext;
use mrpf_api::data::Batch;
use mrpf_api::network::{Classifier, InputGradient, LossOnLogits};
use mrpf_api::numeric::loss;
use mrpf_api::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::cascade::NamedAttack;

/// What is wrong with a classifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// The gradient is zero everywhere, as behind a step function.
    MaskedGradient,
    /// The gradient points the wrong way.
    ReversedGradient,
    /// The gradient points the wrong way beyond this distance from middle grey.
    ReversedBeyond(f64),
    /// The outputs are probabilities.
    Probabilities,
    /// Every pass adds something else.
    Noisy,
    /// The outputs hardly depend on the image.
    Stuck,
}

/// Logits are ten times the brightness of the left and of the right half.
pub struct Faulty {
    fault: Fault,
    passes: AtomicUsize,
}

impl Faulty {
    pub fn new(fault: Fault) -> Self {
        Self { fault, passes: AtomicUsize::new(0) }
    }

    fn outputs(&self, images: &Tensor) -> Result<Tensor> {
        let halves = (images.sum((1, 2))? * 10.0)?;
        match self.fault {
            Fault::Probabilities => {
                let raised = halves.broadcast_sub(&halves.max_keepdim(D::Minus1)?)?.exp()?;
                Ok(raised.broadcast_div(&raised.sum_keepdim(D::Minus1)?)?)
            }
            Fault::Noisy => {
                let pass = self.passes.fetch_add(1, Ordering::Relaxed);
                Ok((halves + 1e-4 * pass as f64)?)
            }
            // The first of the two is larger by more than any image can change.
            Fault::Stuck => Ok((halves * 1e-6)?.broadcast_add(&Tensor::new(&[[1.0f32, 0.0]], images.device())?)?),
            _ => Ok(halves),
        }
    }
}

impl Classifier for Faulty {
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.outputs(&images.detach())?.detach())
    }

    fn input_gradient(&self, images: &Tensor, loss: &LossOnLogits<'_>) -> Result<InputGradient> {
        let images = mrpf_api::candle_core::Var::from_tensor(&images.detach())?;
        let logits = self.outputs(&images)?;
        let losses = loss(&logits)?;
        let gradients = losses.sum_all()?.backward()?;
        let none = || Error::new(ErrorKind::Numeric, "no gradient");
        let gradient = gradients.get(&images).ok_or_else(none)?.clone();
        let gradient = match self.fault {
            Fault::MaskedGradient => gradient.zeros_like()?,
            Fault::ReversedGradient => gradient.neg()?,
            Fault::ReversedBeyond(distance) => {
                let far = (images.as_tensor() - 0.5)?.abs()?.max_keepdim(3)?.max_keepdim(2)?.gt(distance)?;
                far.broadcast_as(gradient.shape())?.where_cond(&gradient.neg()?, &gradient)?
            }
            _ => gradient,
        };
        Ok(InputGradient { gradient, loss: losses.detach(), logits: logits.detach() })
    }

    fn classes(&self) -> usize {
        2
    }
}

/// PGD with steps of a quarter of the radius.
pub struct Climb {
    pub steps: usize,
}

impl Attack for Climb {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let step_size = threat.epsilon.value() / 4.0;
        let ascent = Ascent { threat: threat.clone(), step_size, steps: self.steps, start: Start::Clean };
        let climbed = ascend(cx, classifier, &batch.images, &batch.images, &ascent, &|logits| {
            loss::cross_entropy_per_image(logits, &batch.labels)
        })?;
        AttackOutcome::judge(classifier, climbed, &batch.labels)
    }
}

/// Darkens the brighter half and brightens the other, without asking for gradients.
pub struct Swap;

impl Attack for Swap {
    fn attack(
        &self,
        _cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let columns = batch.images.mean_keepdim(2)?.broadcast_as(batch.images.shape())?;
        let middle = batch.images.mean_keepdim(3)?.mean_keepdim(2)?.broadcast_as(batch.images.shape())?;
        let moved = (&batch.images - ((columns - middle)?.sign()? * threat.epsilon.value())?)?;
        AttackOutcome::judge(classifier, moved.clamp(0.0, 1.0)?, &batch.labels)
    }

    fn means(&self) -> AttackMeans {
        AttackMeans::Queries
    }
}

/// Breaks every image even at epsilon 0.
pub struct Cheat;

impl Attack for Cheat {
    fn attack(
        &self,
        _cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        _threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let outcome = AttackOutcome::judge(classifier, batch.images.clone(), &batch.labels)?;
        Ok(AttackOutcome { broken: vec![true; outcome.broken.len()], ..outcome })
    }
}

/// A climb, then the black box.
pub struct Both {
    pub steps: usize,
}

impl Attack for Both {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let climbed = Climb { steps: self.steps }.attack(cx, classifier, threat, batch)?;
        climbed.worse(Swap.attack(cx, classifier, threat, batch)?)
    }

    fn parts(&self, _classes: usize) -> Result<Vec<AttackPart>> {
        Ok(vec![("climb".into(), Box::new(Climb { steps: self.steps })), ("swap".into(), Box::new(Swap))])
    }
}

pub fn named(name: &str, attack: impl Attack + 'static) -> NamedAttack {
    NamedAttack { name: name.into(), attack: Box::new(attack) }
}
