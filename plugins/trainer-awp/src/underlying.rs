//! The trainings that weights are perturbed over.

use mrpf_api::prelude::*;

/// The training whose weights are perturbed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Base {
    /// Cross-entropy on attacked images (AT-AWP).
    #[default]
    PgdAt,
    /// Cross-entropy on clean images plus the divergence between clean and attacked outputs (TRADES-AWP).
    Trades,
}

impl Base {
    pub(crate) fn gamma(self) -> f64 {
        match self {
            Self::PgdAt => 0.01,
            Self::Trades => 0.005,
        }
    }

    pub(crate) fn start(self) -> Start {
        match self {
            Self::PgdAt => Start::Uniform,
            Self::Trades => Start::SmallNormal,
        }
    }

    /// The images attacked in evaluation mode: by the cross-entropy, or by the divergence from the clean outputs.
    pub(crate) fn attack(
        self,
        step: &TrainingStep<'_>,
        frozen: &FrozenNetwork,
        batch: &Batch,
        start: &Tensor,
        ascent: &Ascent,
    ) -> Result<Tensor> {
        let target = match self {
            Self::PgdAt => None,
            Self::Trades => Some(frozen.logits(&batch.images)?),
        };
        let climbed = |logits: &Tensor| match &target {
            None => loss::cross_entropy_per_image(logits, &batch.labels),
            Some(target) => loss::kl_divergence_per_image(target, logits),
        };
        ascend(&step.cx, frozen, &batch.images, start, ascent, &climbed)
    }

    /// The loss of attacked images.
    ///
    /// Over TRADES in training mode the running statistics are updated by x', x and x: the authors compute f(x) twice with the same
    /// numbers, here the second pass has no gradients, which gives the same loss, gradients and statistics.
    pub(crate) fn loss(
        self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        attacked: &Tensor,
        beta: f64,
        mode: Mode,
    ) -> Result<TrainingLoss> {
        let logits = network.forward(attacked, mode)?;
        let cross_entropy = |logits: &Tensor| loss::cross_entropy(logits, &batch.labels, step.label_smoothing);
        let loss = match self {
            Self::PgdAt => cross_entropy(&logits)?,
            Self::Trades => {
                let clean_logits = network.forward(&batch.images, mode)?;
                if mode == Mode::Train {
                    network.forward_with(&network.frozen_weights(), &batch.images, mode)?;
                }
                let divergence = loss::kl_divergence_per_image(&clean_logits, &logits)?.mean_all()?;
                (cross_entropy(&clean_logits)? + (divergence * beta)?)?
            }
        };
        Ok(TrainingLoss { loss, logits: logits.detach() })
    }
}
