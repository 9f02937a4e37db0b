//! Trainer `distill`: robust soft label adversarial distillation, RSLAD (Zi et al. 2021).
//!
//! A student S learns from a robust teacher T, which is in evaluation mode and sees clean images only; no label is used. The attack
//! climbs KL(T(x) || S(x')), and the loss is `alpha * KL(T(x) || S(x')) + (1 - alpha) * KL(T(x) || S(x))`. As in the authors' code:
//! - the attack runs with the student in evaluation mode from x + 0.001 * normal noise that is not cut before the first gradient;
//! - the loss is computed in training mode, running statistics are updated by x', then by x;
//! - in the loss the teacher's log-probability is log(T + 1e-5), a constant, and the divergence is averaged over images *and* classes,
//!   so that gradients are smaller by the number of classes than those of a divergence per image; `mean_over` chooses.
//!
//! In a run the teacher of the pruned networks is the dense one, if no other is named. The recipe there: 300 epochs, batch 128,
//! learning rate 0.1, tenfold lower after 215, 260 and 285 epochs, weight decay 2e-4.

use mrpf_api::prelude::*;

/// Settings of `distill`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct DistillSettings {
    /// Weight of the attacked images, from 0 to 1; the clean ones have the rest.
    pub alpha: Fraction,
    /// What the divergence is averaged over.
    pub mean_over: MeanOver,
    /// Radius of the L-inf ball, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of a step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
}

/// What the divergence is averaged over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum MeanOver {
    /// Images and classes, as in the authors' code; their learning rate of 0.1 belongs to it.
    #[default]
    ImagesAndClasses,
    /// Images, as divergences usually are.
    Images,
}

impl Default for DistillSettings {
    fn default() -> Self {
        Self {
            alpha: Fraction::new(5, 6),
            mean_over: MeanOver::default(),
            epsilon: Fraction::new(8, 255),
            step_size: Fraction::new(2, 255),
            steps: 10,
        }
    }
}

register_plugin! {
    kind: Trainer,
    name: "distill",
    summary: "divergence from a robust teacher's outputs, on clean and attacked images (RSLAD); needs a teacher",
    source: "Zi et al. 2021, arXiv 2108.07969; details of the authors' code",
    settings: DistillSettings,
    make: |settings| Ok(Box::new(Distill::new(settings)?)),
}

/// A checked RSLAD trainer.
pub struct Distill {
    alpha: f64,
    mean_over: MeanOver,
    ascent: Ascent,
    teacher: Option<FrozenNetwork>,
}

impl Distill {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a weight outside [0, 1], no steps or lengths that are not positive.
    pub fn new(settings: DistillSettings) -> Result<Self> {
        let DistillSettings { alpha, mean_over, epsilon, step_size, steps } = settings;
        let in_range = (0.0..=1.0).contains(&alpha.value()) && epsilon.value() >= 0.0;
        if !(in_range && step_size.value() > 0.0 && steps > 0) {
            let found = format!("alpha {alpha}, epsilon {epsilon}, step_size {step_size}, {steps} steps");
            let expected = "expected a weight from 0 to 1, a radius of at least 0, a positive step, at least 1 step";
            return Err(Error::new(ErrorKind::Settings, format!("{found}, {expected}")));
        }
        let threat = ThreatModel { norm: Norm::Linf, epsilon };
        let ascent = Ascent { threat, step_size: step_size.value(), steps, start: Start::SmallNormal };
        Ok(Self { alpha: alpha.value(), mean_over, ascent, teacher: None })
    }

    /// The loss with the attack begun at given images `[batch, channel, height, width]`, and the attacked images.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] without a teacher, or with one of other classes.
    pub fn loss_from(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<(TrainingLoss, Tensor)> {
        let teacher = self.teacher.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Settings, "there is no teacher to learn from").hint("call `teacher` before training")
        })?;
        let (student, classes) = (network.freeze()?, teacher.classes());
        if classes != student.classes() {
            let message = format!("the teacher knows {classes} classes and its student {}", student.classes());
            return Err(Error::new(ErrorKind::Settings, message).hint("name a teacher that was trained on this data"));
        }
        let target = teacher.logits(&batch.images)?;
        let divergence = |logits: &Tensor| loss::kl_divergence_per_image(&target, logits);
        let attacked = ascend(&step.cx, &student, &batch.images, start, &self.ascent, &divergence)?;
        let logits = network.forward(&attacked, Mode::Train)?;
        let clean_logits = network.forward(&batch.images, Mode::Train)?;
        let robust = (self.divergence(&target, &logits)? * self.alpha)?;
        let loss = (robust + (self.divergence(&target, &clean_logits)? * (1.0 - self.alpha))?)?;
        Ok((TrainingLoss { loss, logits: logits.detach() }, attacked))
    }

    /// The divergence of the loss, a scalar.
    fn divergence(&self, target: &Tensor, logits: &Tensor) -> Result<Tensor> {
        let target = loss::log_softmax(target)?.exp()?;
        let of_class = (&target * ((&target + 1e-5)?.log()? - loss::log_softmax(logits)?)?)?;
        Ok(match self.mean_over {
            MeanOver::ImagesAndClasses => of_class.mean_all()?,
            MeanOver::Images => of_class.sum(1)?.mean_all()?,
        })
    }
}

impl AdversarialTrainer for Distill {
    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let start = self.ascent.starting_images(&step.cx, batch)?;
        Ok(self.loss_from(step, network, batch, &start)?.0)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn teacher(&mut self, network: &Network) -> Result<()> {
        self.teacher = Some(network.freeze()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
