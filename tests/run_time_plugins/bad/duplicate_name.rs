//! A trainer that calls itself like one that is there.

use mrpf_api::prelude::*;

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
struct NoSettings {}

export_plugin!();

register_plugin! {
    kind: Trainer,
    name: "trades",
    summary: "an impostor",
    source: "own",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Impostor)),
}

struct Impostor;

impl AdversarialTrainer for Impostor {
    fn loss(&mut self, _: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let logits = network.forward(&batch.images, Mode::Train)?;
        Ok(TrainingLoss { loss: loss::cross_entropy(&logits, &batch.labels, 0.0)?, logits: logits.detach() })
    }
}
