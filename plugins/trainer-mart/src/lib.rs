//! Trainer `mart`: misclassification-aware adversarial training (Wang et al. 2020).
//!
//! With p = softmax(f(x)), q = softmax(f(x')), the label y and the wrong class k that q favours most, the loss of a batch is the mean of
//! `-log q_y - log(1.0001 - q_k + 1e-12) + beta * KL(p || q) * (1.0000001 - p_y)`, with log(q + 1e-12) in the divergence. As in the
//! authors' code:
//! - the attack climbs the cross-entropy in evaluation mode, from x + 0.001 * normal noise that is not cut before the first gradient;
//! - the loss is computed in training mode, its gradient flows through p, p_y and q alike, and running statistics are updated by x,
//!   then by x'.
//!
//! Label smoothing applies to the cross-entropy `-log q_y` alone; the authors use none.

use mrpf_api::prelude::*;

/// Settings of `mart`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MartSettings {
    /// Weight of the divergence; 5 in the authors' training script, 6 where their function is called without one.
    pub beta: f64,
    /// Radius of the L-inf ball, in the unit of the pixels; 0.031 in the authors' code, which is not 8/255.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of a step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
}

impl Default for MartSettings {
    fn default() -> Self {
        Self { beta: 5.0, epsilon: Fraction::from(0.031), step_size: Fraction::from(0.007), steps: 10 }
    }
}

register_plugin! {
    kind: Trainer,
    name: "mart",
    summary: "boosted cross-entropy on attacked images, and divergence where the clean image is misclassified",
    source: "Wang et al. 2020, Improving adversarial robustness requires revisiting misclassified examples, ICLR; details of the authors' code",
    settings: MartSettings,
    make: |settings| Ok(Box::new(Mart::new(settings)?)),
}

/// A checked MART trainer.
pub struct Mart {
    beta: f64,
    ascent: Ascent,
}

impl Mart {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a negative weight, no steps or lengths that are not positive.
    pub fn new(settings: MartSettings) -> Result<Self> {
        let MartSettings { beta, epsilon, step_size, steps } = settings;
        if !(beta >= 0.0 && epsilon.value() >= 0.0 && step_size.value() > 0.0 && steps > 0) {
            let found = format!("beta {beta}, epsilon {epsilon}, step_size {step_size}, {steps} steps");
            let expected = "expected a weight of at least 0, a radius of at least 0, a positive step, at least 1 step";
            return Err(Error::new(ErrorKind::Settings, format!("{found}, {expected}")));
        }
        let threat = ThreatModel { norm: Norm::Linf, epsilon };
        Ok(Self { beta, ascent: Ascent { threat, step_size: step_size.value(), steps, start: Start::SmallNormal } })
    }

    /// The loss with the attack begun at given images `[batch, channel, height, width]`, and the attacked images.
    pub fn loss_from(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<(TrainingLoss, Tensor)> {
        let climbed = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
        let attacked = ascend(&step.cx, &network.freeze()?, &batch.images, start, &self.ascent, &climbed)?;
        let clean_logits = network.forward(&batch.images, Mode::Train)?;
        let logits = network.forward(&attacked, Mode::Train)?;
        let hard = loss::cross_entropy(&logits, &batch.labels, step.label_smoothing)?;
        let loss = (hard + self.beyond_cross_entropy(&clean_logits, &logits, &batch.labels)?.mean_all()?)?;
        Ok((TrainingLoss { loss, logits: logits.detach() }, attacked))
    }

    /// Everything but the cross-entropy, `[batch]`.
    fn beyond_cross_entropy(&self, clean_logits: &Tensor, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let q = loss::log_softmax(logits)?.exp()?;
        let rival = most_likely_wrong_class(logits, labels)?;
        let margin = of_class(&q, &rival)?.affine(-1.0, 1.0001 + 1e-12)?.log()?.neg()?;
        let log_p = loss::log_softmax(clean_logits)?;
        let p = log_p.exp()?;
        let divergence = (&p * (log_p - (q + 1e-12)?.log()?)?)?.sum(1)?;
        let doubt = of_class(&p, labels)?.affine(-1.0, 1.000_000_1)?;
        Ok((margin + ((divergence * doubt)? * self.beta)?)?)
    }
}

impl AdversarialTrainer for Mart {
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let start = self.ascent.starting_images(&step.cx, batch)?;
        Ok(self.loss_from(step, network, batch, &start)?.0)
    }
}

/// The probability of one class of each image, `[batch]`.
fn of_class(probabilities: &Tensor, classes: &Tensor) -> Result<Tensor> {
    Ok(probabilities.gather(&classes.unsqueeze(1)?, 1)?.squeeze(1)?)
}

/// The class other than the label with the largest logit, `[batch]` u32.
fn most_likely_wrong_class(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let rows = logits.in_f64()?.to_vec2::<f64>()?;
    let mut rivals = Vec::with_capacity(rows.len());
    for (row, label) in rows.iter().zip(labels.to_vec1::<u32>()?) {
        let wrong = row.iter().enumerate().filter(|(class, _)| *class != label as usize);
        let rival = wrong.max_by(|a, b| a.1.total_cmp(b.1)).map_or(label, |(class, _)| class as u32);
        rivals.push(rival);
    }
    Ok(Tensor::new(rivals, labels.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_test_support::{Fixture, TwoSteps, largest_difference, resnet8, step};

    #[test]
    fn two_steps_agree_with_the_authors_code() -> Result<()> {
        let ((network, batch), recorded) = (resnet8()?, Fixture::load("mart")?);
        let trainer = Mart::new(MartSettings::default())?;
        let mut steps = TwoSteps::new(&network, &recorded);
        for at in 0..2 {
            let start = (&batch.images + (recorded.tensor(&format!("noise.{at}"))? * 0.001)?)?;
            let (found, images) = trainer.loss_from(&step(0, at), &network, &batch, &start)?;
            assert!(largest_difference(&images, recorded.tensor(&format!("adversarial.{at}"))?)? < 1e-9);
            steps.descend(&found.loss)?;
        }
        steps.finish(1e-9)
    }

    #[test]
    fn the_rival_is_the_runner_up_where_the_label_leads_and_the_leader_elsewhere() -> Result<()> {
        let logits = Tensor::new(&[[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], &Device::Cpu)?;
        let labels = Tensor::new(&[0u32, 1], &Device::Cpu)?;
        assert_eq!(most_likely_wrong_class(&logits, &labels)?.to_vec1::<u32>()?, [1, 0]);
        Ok(())
    }

    #[test]
    fn a_certain_right_answer_leaves_the_cross_entropy() -> Result<()> {
        let (logits, labels) =
            (Tensor::new(&[[80.0f32, 0.0, 0.0]], &Device::Cpu)?, Tensor::new(&[0u32], &Device::Cpu)?);
        let mart = Mart::new(MartSettings::default())?;
        let rest = mart.beyond_cross_entropy(&logits, &logits, &labels)?.to_vec1::<f32>()?;
        assert!(rest[0].abs() < 2e-4, "{rest:?}");
        Ok(())
    }

    #[test]
    fn without_epsilon_there_is_no_divergence() -> Result<()> {
        let value = |beta| -> Result<f64> {
            let (network, batch) = resnet8()?;
            let nothing = MartSettings { beta, epsilon: Fraction::from(0.0), ..MartSettings::default() };
            Ok(Mart::new(nothing)?.loss(&step(0, 0), &network, &batch)?.loss.to_scalar::<f64>()?)
        };
        assert!((value(0.0)? - value(100.0)?).abs() < 1e-8);
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let refused = Mart::new(MartSettings { steps: 0, ..MartSettings::default() }).err();
        assert!(refused.is_some_and(|error| error.to_string().ends_with("at least 1 step")));
    }

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Trainer, "mart")
    }
}
