//! Trainer `standard`: cross-entropy on the images as they are.

use mrpf_api::prelude::*;

/// `standard` has no settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

register_plugin! {
    kind: Trainer,
    name: "standard",
    summary: "cross-entropy on clean images; no robustness",
    source: "the usual baseline",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Standard)),
}

struct Standard;

impl AdversarialTrainer for Standard {
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let logits = network.forward(&batch.images, Mode::Train)?;
        let loss = loss::cross_entropy(&logits, &batch.labels, step.label_smoothing)?;
        Ok(TrainingLoss { loss, logits: logits.detach() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_test_support::{Fixture, assert_family, gradients_by_name, resnet8};

    #[test]
    fn gradients_are_those_of_pytorch() -> Result<()> {
        let ((network, batch), recorded) = (resnet8()?, Fixture::load("resnet8")?);
        let cx = CallContext::unwatched(Streams::new(0));
        let step = TrainingStep { cx, epoch: 0, epochs: 1, label_smoothing: 0.0 };
        let gradients = Standard.loss(&step, &network, &batch)?.loss.backward()?;
        assert_family("gradient", &gradients_by_name(&network, &gradients), &recorded.family("train_gradient"), 1e-9)
    }
}
