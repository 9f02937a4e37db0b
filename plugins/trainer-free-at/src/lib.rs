//! Trainer `free-at`: free adversarial training (Shafahi et al. 2019), which uses each gradient twice.
//!
//! Each batch is trained on m times over. One backward pass gives the weights' gradient and that of a perturbation d, which then becomes
//! d + epsilon * sign of its gradient, put back into the ball and so that x + d is in range. As in the code of Wong et al. 2020:
//! - d begins at 0 and is kept from batch to batch, a row for each place in a batch, so that on a new batch x + d may lie outside the
//!   range at first; a smaller batch moves the first rows;
//! - a replay is a step of its own for the learning rate's decay.
//!
//! The recipe there: m = 8, 11 epochs, batch 128, learning rate 0.04 with `cyclic` decay, weight decay 5e-4; an epoch costs and trains
//! as much as m others, so divide the epochs of another recipe by m.

use mrpf_api::prelude::*;

/// Settings of `free-at`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FreeAtSettings {
    /// How often each batch is trained on before the next one (m); at least 1. 8 in both papers for CIFAR-10, 4 for ImageNet.
    #[schemars(range(max = 1_000))]
    pub replays: usize,
    /// Radius of the L-inf ball and length of a step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
}

impl Default for FreeAtSettings {
    fn default() -> Self {
        Self { replays: 8, epsilon: Fraction::new(8, 255) }
    }
}

register_plugin! {
    kind: Trainer,
    name: "free-at",
    summary: "each batch several times over, with a perturbation that climbs by the same backward pass",
    source: "Shafahi et al. 2019, arXiv 1904.12843, algorithm 1; details of the code of Wong et al. 2020, arXiv 2001.03994",
    settings: FreeAtSettings,
    make: |settings| Ok(Box::new(FreeAt::new(settings)?)),
}

/// Name of the only tensor that is kept in checkpoints.
const PERTURBATION: &str = "perturbation";

/// A checked Free-AT trainer.
pub struct FreeAt {
    replays: usize,
    epsilon: f64,
    /// `[rows, channel, height, width]`, as many rows as the largest batch so far has images.
    perturbation: Option<Tensor>,
    /// The perturbed images whose gradient is waited for, and the clean ones.
    waiting: Option<(Var, Tensor)>,
}

impl FreeAt {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for no replays or a negative radius.
    pub fn new(settings: FreeAtSettings) -> Result<Self> {
        let (replays, epsilon) = (settings.replays, settings.epsilon);
        if replays == 0 || epsilon.value() < 0.0 {
            let message =
                format!("{replays} replays, epsilon {epsilon}, expected at least 1 and a radius of at least 0");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Self { replays, epsilon: epsilon.value(), perturbation: None, waiting: None })
    }

    /// The kept perturbation with at least as many rows as there are images; new ones are 0.
    fn perturbation(&self, images: &Tensor) -> Result<Tensor> {
        let Some(kept) = self.perturbation.as_ref().filter(|kept| kept.dims()[1..] == images.dims()[1..]) else {
            return Ok(images.zeros_like()?);
        };
        let (rows, wanted) = (kept.dim(0)?, images.dim(0)?);
        if rows >= wanted {
            return Ok(kept.clone());
        }
        Ok(Tensor::cat(&[kept, &images.narrow(0, 0, wanted - rows)?.zeros_like()?], 0)?)
    }
}

impl AdversarialTrainer for FreeAt {
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let perturbation = self.perturbation(&batch.images)?;
        let points = Var::from_tensor(&(&batch.images + perturbation.narrow(0, 0, batch.len())?)?)?;
        let logits = network.forward(&points, Mode::Train)?;
        let loss = loss::cross_entropy(&logits, &batch.labels, step.label_smoothing)?;
        self.perturbation = Some(perturbation);
        self.waiting = Some((points, batch.images.clone()));
        Ok(TrainingLoss { loss, logits: logits.detach() })
    }

    /// The perturbation belongs to places in the batch.
    fn takes_parts(&self) -> bool {
        false
    }

    fn replays(&self) -> usize {
        self.replays
    }

    fn after_backward(&mut self, _: &TrainingStep<'_>, gradients: &GradStore) -> Result<()> {
        let (Some((points, clean)), Some(kept)) = (self.waiting.take(), self.perturbation.take()) else {
            return Err(Error::new(ErrorKind::Plugin, "after_backward was called before the loss of a batch"));
        };
        let gradient = gradients.get(&points).ok_or_else(|| {
            Error::new(ErrorKind::Numeric, "the cross-entropy has no gradient with respect to the images")
        })?;
        let (rows, used) = (kept.dim(0)?, clean.dim(0)?);
        let moved = (kept.narrow(0, 0, used)? + (gradient.sign()? * self.epsilon)?)?;
        let moved = moved.clamp(-self.epsilon, self.epsilon)?;
        let moved = moved.minimum(&clean.affine(-1.0, 1.0)?)?.maximum(&clean.neg()?)?.detach();
        self.perturbation = Some(match rows > used {
            true => Tensor::cat(&[&moved, &kept.narrow(0, used, rows - used)?], 0)?,
            false => moved,
        });
        Ok(())
    }

    fn state(&self) -> Weights {
        self.perturbation.iter().map(|kept| (PERTURBATION.to_owned(), kept.clone())).collect()
    }

    fn restore(&mut self, mut state: Weights) -> Result<()> {
        self.perturbation = state.remove(PERTURBATION);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
