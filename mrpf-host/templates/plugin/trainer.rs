//! Trainer `plugin-name`: cross-entropy on clean and on attacked images at once.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// Radius of the attack in the L-infinity norm, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Share of the attacked images' loss, from 0 to 1.
    pub adversarial: f64,
}

impl Default for PluginNameSettings {
    fn default() -> Self {
        Self { epsilon: Fraction::new(8, 255), adversarial: 0.5 }
    }
}

export_plugin!();

register_plugin! {
    kind: Trainer,
    name: "plugin-name",
    summary: "cross-entropy on clean images and on images attacked by one step",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName::new(settings)?)),
}

struct PluginName {
    ascent: Ascent,
    adversarial: f64,
}

impl PluginName {
    fn new(settings: PluginNameSettings) -> Result<Self> {
        if !(0.0..=1.0).contains(&settings.adversarial) {
            let message = format!("adversarial {}, expected a share from 0 to 1", settings.adversarial);
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let step_size = settings.epsilon.value();
        let threat = ThreatModel { norm: Norm::Linf, epsilon: settings.epsilon };
        Ok(Self {
            ascent: Ascent { threat, step_size, steps: 1, start: Start::Uniform },
            adversarial: settings.adversarial,
        })
    }
}

impl AdversarialTrainer for PluginName {
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        // Asked before anything is computed. Refuse here what `loss` would refuse; it takes every network.
        Ok(Foresight::Fits)
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        // The attack runs on the frozen network, which computes the gradient of the images and nothing else.
        let start = self.ascent.starting_images(&step.cx, batch)?;
        let attacked_loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
        let images = ascend(&step.cx, &network.freeze()?, &batch.images, &start, &self.ascent, &attacked_loss)?;

        let logits = network.forward(&images, Mode::Train)?;
        let attacked = loss::cross_entropy(&logits, &batch.labels, step.label_smoothing)?;
        let clean = network.forward(&batch.images, Mode::TrainKeepingStatistics)?;
        let clean = loss::cross_entropy(&clean, &batch.labels, step.label_smoothing)?;
        let loss = ((attacked * self.adversarial)? + (clean * (1.0 - self.adversarial))?)?;
        Ok(TrainingLoss { loss, logits: logits.detach() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Trainer, "plugin-name")
    }

    #[test]
    fn a_share_above_one_is_refused() {
        let settings = PluginNameSettings { adversarial: 1.5, ..PluginNameSettings::default() };
        assert!(PluginName::new(settings).is_err());
    }
}
