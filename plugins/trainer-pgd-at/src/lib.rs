//! Trainer `pgd-at`: cross-entropy on images attacked by PGD (Madry et al. 2018).

use mrpf_api::prelude::*;

/// Settings of `pgd-at`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PgdAtSettings {
    /// Shape of the ball.
    pub norm: Norm,
    /// Radius of the ball, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of a step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of steps; at least 1. 10 as Rice et al. 2020; Madry et al. train with 7.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Where the attack begins.
    pub start: Start,
    /// How batch norm behaves while attacking.
    pub attack_mode: AttackMode,
}

/// How batch norm behaves while attacking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum AttackMode {
    /// Running statistics, as Pang et al. 2021 (Bag of Tricks) recommend; the attack is cheapest so.
    #[default]
    Evaluate,
    /// Statistics of the batch, as in Rice et al. 2020; unlike there the running statistics stay as they are during the attack.
    Train,
}

impl Default for PgdAtSettings {
    fn default() -> Self {
        Self {
            norm: Norm::Linf,
            epsilon: Fraction::new(8, 255),
            step_size: Fraction::new(2, 255),
            steps: 10,
            start: Start::Uniform,
            attack_mode: AttackMode::Evaluate,
        }
    }
}

register_plugin! {
    kind: Trainer,
    name: "pgd-at",
    summary: "cross-entropy on PGD-attacked images",
    source: "Madry et al. 2018, arXiv 1706.06083, equation 2.1; settings of Rice et al. 2020, arXiv 2002.11569",
    settings: PgdAtSettings,
    make: |settings| Ok(Box::new(PgdAt::new(settings)?)),
}

/// A checked PGD-AT trainer.
pub struct PgdAt {
    ascent: Ascent,
    attack_mode: AttackMode,
}

impl PgdAt {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for no steps or lengths that are not positive.
    pub fn new(settings: PgdAtSettings) -> Result<Self> {
        let (epsilon, step_size) = (settings.epsilon, settings.step_size);
        if settings.steps == 0 || step_size.value() <= 0.0 || epsilon.value() < 0.0 {
            let message = format!("epsilon {epsilon}, step_size {step_size}, {} steps", settings.steps);
            return Err(Error::new(
                ErrorKind::Settings,
                message + ", expected a radius of at least 0, a positive step, at least 1 step",
            ));
        }
        let threat = ThreatModel { norm: settings.norm, epsilon };
        let ascent = Ascent { threat, step_size: step_size.value(), steps: settings.steps, start: settings.start };
        Ok(Self { ascent, attack_mode: settings.attack_mode })
    }

    /// The loss with the attack begun at given images `[batch, channel, height, width]`, and the attacked images.
    pub fn loss_from(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<(TrainingLoss, Tensor)> {
        let frozen = match self.attack_mode {
            AttackMode::Evaluate => network.freeze()?,
            AttackMode::Train => FrozenNetwork::in_training_mode(network)?,
        };
        let attacked_loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
        let images = ascend(&step.cx, &frozen, &batch.images, start, &self.ascent, &attacked_loss)?;
        let logits = network.forward(&images, Mode::Train)?;
        let loss = loss::cross_entropy(&logits, &batch.labels, step.label_smoothing)?;
        Ok((TrainingLoss { loss, logits: logits.detach() }, images))
    }
}

impl AdversarialTrainer for PgdAt {
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

    fn step() -> TrainingStep<'static> {
        TrainingStep { cx: CallContext::unwatched(Streams::new(0)), epoch: 0, epochs: 1, label_smoothing: 0.0 }
    }

    #[test]
    fn a_step_agrees_with_pytorch() -> Result<()> {
        let ((network, batch), recorded) = (resnet8()?, Fixture::load("pgd_at")?);
        let trainer = PgdAt::new(PgdAtSettings::default())?;
        let (found, images) = trainer.loss_from(&step(), &network, &batch, recorded.tensor("start")?)?;
        assert!(largest_difference(&images, recorded.tensor("adversarial")?)? < 1e-9);
        assert!((found.loss.to_scalar::<f64>()? - recorded.number("loss")?).abs() < 1e-9);
        let gradients = found.loss.backward()?;
        assert_family("gradient", &gradients_by_name(&network, &gradients), &recorded.family("gradient"), 1e-9)?;
        assert_family("statistics", &network.statistics(), &recorded.family("statistics"), 1e-9)
    }

    #[test]
    fn attacking_in_training_mode_leaves_the_running_statistics_to_the_training_pass() -> Result<()> {
        let update_of = |settings| -> Result<Weights> {
            let (network, batch) = resnet8()?;
            PgdAt::new(settings)?.loss(&step(), &network, &batch)?;
            Ok(network.statistics())
        };
        let nothing = PgdAtSettings { epsilon: Fraction::from(0.0), ..PgdAtSettings::default() };
        let in_training = PgdAtSettings { attack_mode: AttackMode::Train, ..nothing.clone() };
        assert_family("statistics", &update_of(in_training)?, &update_of(nothing)?, 1e-12)
    }
}
