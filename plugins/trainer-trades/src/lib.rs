//! Trainer `trades` (Zhang et al. 2019).
//!
//! Loss: CE(f(x), y) + beta * KL(f(x) || f(x')) as a mean over the batch, where x' maximises the divergence in the ball. As in
//! the reference code:
//! - the attack runs in evaluation mode on the divergence summed over the batch, from x + 0.001 * normal noise that is not cut
//!   before the first gradient, against f(x) in evaluation mode;
//! - the loss is computed in training mode, and its gradient flows through both f(x) and f(x');
//! - running statistics are updated three times, by x, x' and x again. The reference computes f(x) twice with the same numbers;
//!   here the second pass is made without gradients, which gives the same loss, gradients and statistics.

use mrpf_api::prelude::*;

/// Settings of `trades`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct TradesSettings {
    /// Weight of the divergence; 6 in the paper's CIFAR-10 experiments.
    pub beta: f64,
    /// Radius of the L-inf ball, in the unit of the pixels; 0.031 in the reference code, which is not 8/255.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of a step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
}

impl Default for TradesSettings {
    fn default() -> Self {
        Self { beta: 6.0, epsilon: Fraction::from(0.031), step_size: Fraction::from(0.007), steps: 10 }
    }
}

register_plugin! {
    kind: Trainer,
    name: "trades",
    summary: "cross-entropy on clean images plus the divergence between clean and attacked outputs",
    source: "Zhang et al. 2019, arXiv 1901.08573, equation 5 and algorithm 1; details of the authors' code",
    settings: TradesSettings,
    make: |settings| Ok(Box::new(Trades::new(settings)?)),
}

/// A checked TRADES trainer.
pub struct Trades {
    beta: f64,
    ascent: Ascent,
}

impl Trades {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a negative weight, no steps or lengths that are not positive.
    pub fn new(settings: TradesSettings) -> Result<Self> {
        let (epsilon, step_size) = (settings.epsilon, settings.step_size);
        let expected = "expected a weight of at least 0, a radius of at least 0, a positive step, at least 1 step";
        let in_range = settings.beta >= 0.0 && epsilon.value() >= 0.0 && step_size.value() > 0.0 && settings.steps > 0;
        if !in_range {
            let found =
                format!("beta {}, epsilon {epsilon}, step_size {step_size}, {} steps", settings.beta, settings.steps);
            return Err(Error::new(ErrorKind::Settings, format!("{found}, {expected}")));
        }
        let threat = ThreatModel { norm: Norm::Linf, epsilon };
        let ascent = Ascent { threat, step_size: step_size.value(), steps: settings.steps, start: Start::SmallNormal };
        Ok(Self { beta: settings.beta, ascent })
    }

    /// The loss with the attack begun at given images `[batch, channel, height, width]`, and the attacked images.
    pub fn loss_from(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<(TrainingLoss, Tensor)> {
        let frozen = network.freeze()?;
        let target = frozen.logits(&batch.images)?;
        let divergence = |logits: &Tensor| loss::kl_divergence_per_image(&target, logits);
        let attacked = ascend(&step.cx, &frozen, &batch.images, start, &self.ascent, &divergence)?;

        let clean_logits = network.forward(&batch.images, Mode::Train)?;
        let natural = loss::cross_entropy(&clean_logits, &batch.labels, step.label_smoothing)?;
        let attacked_logits = network.forward(&attacked, Mode::Train)?;
        network.forward_with(&network.frozen_weights(), &batch.images, Mode::Train)?;
        let robust = loss::kl_divergence_per_image(&clean_logits, &attacked_logits)?.mean_all()?;
        let loss = (natural + (robust * self.beta)?)?;
        Ok((TrainingLoss { loss, logits: attacked_logits.detach() }, attacked))
    }
}

impl AdversarialTrainer for Trades {
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let start = self.ascent.starting_images(&step.cx, batch)?;
        Ok(self.loss_from(step, network, batch, &start)?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_test_support::{Fixture, assert_family, gradients_by_name, largest_difference, resnet8};

    #[test]
    fn a_step_agrees_with_the_authors_code() -> Result<()> {
        let ((network, batch), recorded) = (resnet8()?, Fixture::load("trades")?);
        let step =
            TrainingStep { cx: CallContext::unwatched(Streams::new(0)), epoch: 0, epochs: 1, label_smoothing: 0.0 };
        let start = (&batch.images + (recorded.tensor("noise")? * 0.001)?)?;
        let (found, images) = Trades::new(TradesSettings::default())?.loss_from(&step, &network, &batch, &start)?;
        assert!(largest_difference(&images, recorded.tensor("adversarial")?)? < 1e-9);
        assert!((found.loss.to_scalar::<f64>()? - recorded.number("loss")?).abs() < 1e-9);
        let gradients = found.loss.backward()?;
        assert_family("gradient", &gradients_by_name(&network, &gradients), &recorded.family("gradient"), 1e-9)?;
        assert_family("statistics", &network.statistics(), &recorded.family("statistics"), 1e-9)
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let refused = Trades::new(TradesSettings { beta: -1.0, ..TradesSettings::default() }).err();
        assert!(refused.is_some_and(|error| error.to_string().starts_with("beta -1, epsilon 0.031")));
    }
}
