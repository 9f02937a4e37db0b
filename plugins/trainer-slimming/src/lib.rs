//! Trainer `slimming`: any other training with a penalty on the scales of the batch norms, which makes the needless ones small.
//!
//! The loss is that of the other training plus `strength * sum |gamma|` over all batch norms, so that `strength * sign(gamma)` is added to
//! the gradient of each scale (0 at 0). The authors' code adds that to the gradient after the backward pass, which is the same step; the loss
//! shown here has the penalty in it. What is small afterwards the criterion `bn-scale` removes first.

use mrpf_api::network::LayerKind;
use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{Map, Value};

/// Settings of `slimming`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct SlimmingSettings {
    /// The training that the penalty is added to: the name of any other trainer, or a table with its `name` and settings.
    #[schemars(with = "Value")]
    pub over: Value,
    /// Weight of the penalty, at least 0. The authors take 1e-4 for VGG and 1e-5 for ResNets and DenseNets.
    pub strength: f64,
}

impl Default for SlimmingSettings {
    fn default() -> Self {
        Self { over: "standard".into(), strength: 1e-4 }
    }
}

register_plugin! {
    kind: Trainer,
    name: "slimming",
    summary: "another training with a penalty on the batch-norm scales, before pruning by `bn-scale`",
    source: "Liu et al. 2017, Network Slimming, arXiv 1708.06519",
    settings: SlimmingSettings,
    make: |settings| Ok(Box::new(Slimming::new(settings)?)),
}

/// A checked slimming trainer.
pub struct Slimming {
    over: Box<dyn AdversarialTrainer>,
    strength: f64,
}

impl Slimming {
    /// Makes the other trainer.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a negative strength, a trainer over itself or something that names none; those of the other trainer.
    pub fn new(settings: SlimmingSettings) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        let strength = settings.strength;
        if !(strength >= 0.0 && strength.is_finite()) {
            return wrong(format!("strength {strength}, expected a number of at least 0"));
        }
        let (name, others) = match settings.over {
            Value::String(name) => (name, Map::new()),
            Value::Object(mut table) => match table.remove("name") {
                Some(Value::String(name)) => (name, table),
                _ => return wrong("`over` has no `name`, expected a table with a trainer's name".into()),
            },
            found => return wrong(format!("`over` is {found}, expected a trainer's name, or a table with its `name`")),
        };
        if name == "slimming" {
            return wrong("`over` is `slimming` itself, expected another trainer".into());
        }
        Ok(Self { over: make(&name, Value::Object(others)).context(|| "setting `over`".to_owned())?, strength })
    }
}

/// `sum |gamma|` over all batch norms, a scalar with gradients into the scales.
///
/// # Errors
/// [`ErrorKind::Settings`] for a network without batch norms.
pub fn sum_of_scales(network: &Network) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for layer in &network.declaration().layers {
        if let LayerKind::BatchNorm(_) = layer.kind {
            let scale = network.parameter(&format!("{}.weight", layer.name))?;
            // Times its own sign, and not Candle's absolute value, whose slope at 0 is 1.
            let size = (scale.as_tensor() * scale.as_detached_tensor().sign()?)?.sum_all()?;
            sum = Some(match sum {
                None => size,
                Some(sum) => (sum + size)?,
            });
        }
    }
    sum.ok_or_else(no_scales)
}

fn no_scales() -> Error {
    Error::new(ErrorKind::Settings, "the network has no batch norm whose scales could become small")
        .hint("choose another trainer, and another criterion than bn-scale")
}

impl AdversarialTrainer for Slimming {
    fn check(&self, network: &Declaration, epochs: usize) -> Result<Foresight> {
        match network.layers.iter().any(|layer| matches!(layer.kind, LayerKind::BatchNorm(_))) {
            true => self.over.check(network, epochs),
            false => Err(no_scales()),
        }
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let TrainingLoss { loss, logits } = self.over.loss(step, network, batch)?;
        let penalty = (sum_of_scales(network)? * self.strength)?.to_dtype(loss.dtype())?;
        Ok(TrainingLoss { loss: (loss + penalty)?, logits })
    }

    fn replays(&self) -> usize {
        self.over.replays()
    }

    fn takes_parts(&self) -> bool {
        self.over.takes_parts()
    }

    fn needs_teacher(&self) -> bool {
        self.over.needs_teacher()
    }

    fn teacher(&mut self, network: &Network) -> Result<()> {
        self.over.teacher(network)
    }

    fn perturb_weights(
        &mut self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
    ) -> Result<Option<Weights>> {
        self.over.perturb_weights(step, network, batch)
    }

    fn after_backward(&mut self, step: &TrainingStep<'_>, gradients: &GradStore) -> Result<()> {
        self.over.after_backward(step, gradients)
    }

    fn end_epoch(&mut self, step: &TrainingStep<'_>, network: &Network) -> Result<EpochEnd> {
        self.over.end_epoch(step, network)
    }

    fn state(&self) -> Weights {
        self.over.state()
    }

    fn restore(&mut self, state: Weights) -> Result<()> {
        self.over.restore(state)
    }
}

#[cfg(test)]
mod tests;
