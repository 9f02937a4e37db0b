//! Trainer `logit-pairing`: an image and its attacked twin shall get the same logits.

use mrpf_api::prelude::*;

/// Settings of `logit-pairing`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct LogitPairingSettings {
    /// Weight of the distance between the two rows of logits; at least 0, at which this is training on both kinds of images.
    pub pairing: f64,
    /// Radius of the attack in the L-infinity norm, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of a step of the attack, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of steps of the attack; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
}

impl Default for LogitPairingSettings {
    fn default() -> Self {
        Self { pairing: 0.5, epsilon: Fraction::new(8, 255), step_size: Fraction::new(2, 255), steps: 10 }
    }
}

export_plugin!();

register_plugin! {
    kind: Trainer,
    name: "logit-pairing",
    summary: "cross-entropy on clean and attacked images, and the distance between their logits",
    source: "Kannan et al. 2018 (adversarial logit pairing), arXiv 1803.06373, section 3",
    settings: LogitPairingSettings,
    make: |settings| Ok(Box::new(LogitPairing::new(settings)?)),
}

struct LogitPairing {
    pairing: f64,
    ascent: Ascent,
}

impl LogitPairing {
    fn new(settings: LogitPairingSettings) -> Result<Self> {
        let LogitPairingSettings { pairing, epsilon, step_size, steps } = settings;
        let right = pairing >= 0.0 && pairing.is_finite() && step_size.value() > 0.0 && steps > 0;
        if !right || epsilon.value() < 0.0 {
            let found = format!("pairing {pairing}, epsilon {epsilon}, step_size {step_size}, steps {steps}");
            let message =
                format!("{found}; expected a weight and a radius of at least 0, a positive step, 1 step or more");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let threat = ThreatModel { norm: Norm::Linf, epsilon };
        let ascent = Ascent { threat, step_size: step_size.value(), steps, start: Start::Uniform };
        Ok(Self { pairing, ascent })
    }
}

impl AdversarialTrainer for LogitPairing {
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let start = self.ascent.starting_images(&step.cx, batch)?;
        let attacked_loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
        let images = ascend(&step.cx, &network.freeze()?, &batch.images, &start, &self.ascent, &attacked_loss)?;

        // One pass over both halves, so that batch norm sees clean and attacked images together.
        let both = network.forward(&Tensor::cat(&[&batch.images, &images], 0)?, Mode::Train)?;
        let (clean, attacked) = (both.narrow(0, 0, batch.len())?, both.narrow(0, batch.len(), batch.len())?);
        let cross_entropy = |logits: &Tensor| loss::cross_entropy(logits, &batch.labels, step.label_smoothing);
        let mean_of_both = ((cross_entropy(&clean)? + cross_entropy(&attacked)?)? * 0.5)?;
        let distance = (&clean - &attacked)?.sqr()?.sum(1)?.mean(0)?;
        Ok(TrainingLoss { loss: (mean_of_both + (distance * self.pairing)?)?, logits: attacked.detach() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Trainer, "logit-pairing")
    }

    #[test]
    fn without_an_attack_there_is_no_distance() -> Result<()> {
        let input = ImageShape { channels: 1, height: 2, width: 2 };
        let mut net = Builder::new("test", input, 3);
        net.flatten("flatten").linear("out", 3);
        let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
        let images = Streams::new(1).stream().uniform(&[4, 1, 2, 2], 0.0, 1.0, DType::F64, &Device::Cpu)?;
        let batch = Batch { images, labels: Tensor::new(&[0u32, 1, 2, 0], &Device::Cpu)?, indices: vec![0, 1, 2, 3] };
        let cx = CallContext::unwatched(Streams::new(2));
        let step = TrainingStep { cx, epoch: 0, epochs: 1, label_smoothing: 0.0 };
        let value = |pairing: f64, epsilon: f64| -> Result<f64> {
            let epsilon = Fraction::from(epsilon);
            let settings = LogitPairingSettings { pairing, epsilon, ..LogitPairingSettings::default() };
            Ok(LogitPairing::new(settings)?.loss(&step, &network, &batch)?.loss.to_scalar()?)
        };
        assert_eq!(value(0.0, 0.0)?, value(7.0, 0.0)?);
        assert!(value(0.0, 0.1)? < value(7.0, 0.1)?);
        Ok(())
    }
}
