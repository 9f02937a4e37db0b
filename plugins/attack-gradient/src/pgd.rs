//! Projected gradient descent with restarts.

use mrpf_api::attack::check_length;
use mrpf_api::prelude::*;

use crate::first_broken::first_broken;
use crate::objective::Objective;

/// Settings of `pgd`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PgdSettings {
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Length of a step, in the unit of the pixels; 2/255 for L-inf and 2.5 epsilon / steps for L2 when not given.
    pub step_size: Option<Fraction>,
    /// How often it starts anew; each image keeps its worst outcome. At least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// Where each restart begins.
    pub start: Start,
    /// Which point of the way counts.
    pub keep: Keep,
}

/// Which point of the way counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Keep {
    /// The worst for each image: a misclassified one before others, then the one with the highest loss. From a start that may lie
    /// outside the valid range (`small-normal`) the last point counts.
    Worst,
    /// The first that is misclassified, with which the attack leaves the image alone and goes on with the others; the last of images
    /// that stay right. Breaks the same images as `worst` in less time.
    #[default]
    FirstBroken,
    /// The last, as torchattacks does.
    Last,
}

impl Default for PgdSettings {
    fn default() -> Self {
        Self { steps: 20, step_size: None, restarts: 1, start: Start::Uniform, keep: Keep::FirstBroken }
    }
}

register_plugin! {
    kind: Attack,
    name: "pgd",
    summary: "projected gradient ascent on the cross-entropy, L-inf and L2, with restarts",
    source: "Madry et al. 2018, arXiv 1706.06083; steps as torchattacks' PGD and PGDL2",
    settings: PgdSettings,
    make: |settings| Ok(Box::new(Pgd::new(settings)?)),
}

/// A checked PGD attack.
pub struct Pgd {
    settings: PgdSettings,
    objective: Objective,
}

impl Pgd {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for no steps, no restarts or a step that is not positive.
    pub fn new(settings: PgdSettings) -> Result<Self> {
        Self::climbing(Objective::CrossEntropy, settings)
    }

    /// The same on another loss.
    pub(crate) fn climbing(objective: Objective, settings: PgdSettings) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        if settings.steps == 0 || settings.restarts == 0 {
            return wrong(format!(
                "{} steps and {} restarts, expected at least 1 of each",
                settings.steps, settings.restarts
            ));
        }
        if let Some(step) = settings.step_size.as_ref().filter(|step| step.value() <= 0.0) {
            return wrong(format!("step_size {step}, expected a length above 0"));
        }
        Ok(Self { settings, objective })
    }

    fn ascent(&self, threat: &ThreatModel) -> Ascent {
        let usual = match (threat.norm, self.objective) {
            (Norm::Linf, Objective::CrossEntropy) => 2.0 / 255.0,
            (Norm::Linf, Objective::Margin { .. }) => threat.epsilon.value() / 4.0,
            (Norm::L2 | Norm::L1, _) => 2.5 * threat.epsilon.value() / self.settings.steps as f64,
        };
        let step_size = self.settings.step_size.as_ref().map_or(usual, Fraction::value);
        Ascent { threat: threat.clone(), step_size, steps: self.settings.steps, start: self.settings.start }
    }

    /// Attacks from given starting images `[batch, channel, height, width]` instead of random ones.
    pub fn attack_from(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<AttackOutcome> {
        if self.settings.keep == Keep::FirstBroken {
            return first_broken(cx, classifier, batch, start, &self.ascent(threat), self.objective);
        }
        let ascent = self.ascent(threat);
        let loss = |logits: &Tensor| self.objective.per_image(logits, &batch.labels);
        let mut worst: Option<AttackOutcome> = None;
        let images = ascend_watched(cx, classifier, &batch.images, start, &ascent, &loss, &mut |images, at| {
            if self.settings.keep == Keep::Worst && ascent.start != Start::SmallNormal {
                let here = AttackOutcome::from_logits(images.clone(), &at.logits, &batch.labels)?;
                worst = Some(match worst.take() {
                    None => here,
                    Some(worst) => worst.worse(here)?,
                });
            }
            Ok(())
        })?;
        let last = AttackOutcome::judge(classifier, images, &batch.labels)?;
        match worst {
            None => Ok(last),
            Some(worst) => worst.worse(last),
        }
    }
}

impl Attack for Pgd {
    fn check(&self, threat: &ThreatModel, _classes: usize, shape: ImageShape) -> Result<Foresight> {
        Ascent::check(threat.norm)?;
        let step = self.settings.step_size.as_ref();
        let remark = step.map(|step| check_length("step_size", step, threat.norm, Some(shape.len()))).transpose()?;
        Ok(Foresight::with(remark.flatten()))
    }

    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let mut worst: Option<AttackOutcome> = None;
        let mut left: Vec<usize> = (0..batch.len()).collect();
        for restart in 0..self.settings.restarts {
            let cx = cx.child("restart").child(restart);
            let rest = batch.select(&left)?;
            let start = self.ascent(threat).starting_images(&cx, &rest)?;
            let outcome = self.attack_from(&cx, classifier, threat, &rest, &start)?;
            let outcome = match &worst {
                Some(before) if left.len() < batch.len() => before.clone().with_rows(&left, &outcome)?,
                _ => outcome,
            };
            let together = match worst {
                None => outcome,
                Some(worst) => worst.worse(outcome)?,
            };
            if self.settings.keep == Keep::FirstBroken {
                left.retain(|row| !together.broken[*row]);
            }
            worst = Some(together);
            if left.is_empty() {
                break;
            }
        }
        worst.ok_or_else(|| Error::new(ErrorKind::Settings, "no restarts"))
    }
}
