//! The fast gradient sign method.

use mrpf_api::prelude::*;

/// `fgsm` has no settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

register_plugin! {
    kind: Attack,
    name: "fgsm",
    summary: "one step of length epsilon from the clean image",
    source: "Goodfellow et al. 2015, arXiv 1412.6572, section 4; as torchattacks' FGSM",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Fgsm)),
}

/// One step of length epsilon along the sign of the gradient (L-inf) or along the gradient (L2).
pub struct Fgsm;

impl Attack for Fgsm {
    fn check(&self, threat: &ThreatModel, _classes: usize, _shape: ImageShape) -> Result<Foresight> {
        Ascent::check(threat.norm)?;
        Ok(Foresight::Fits)
    }

    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let ascent =
            Ascent { threat: threat.clone(), step_size: threat.epsilon.value(), steps: 1, start: Start::Clean };
        let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
        let images = ascend(cx, classifier, &batch.images, &batch.images, &ascent, &loss)?;
        AttackOutcome::judge(classifier, images, &batch.labels)
    }
}
