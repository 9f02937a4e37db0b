//! Adversarial trainers: what makes the loss of a batch.

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use crate::Result;
use crate::context::CallContext;
use crate::data::Batch;
use crate::foresight::Foresight;
use crate::network::{Declaration, Network, Weights};

/// Where training stands when a trainer is called.
#[derive(Clone)]
pub struct TrainingStep<'a> {
    /// Random streams of this very step, progress and interruption.
    pub cx: CallContext<'a>,
    /// Epoch from 0.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Label smoothing in [0, 1) that the user asked for; it belongs to the cross-entropy on hard labels.
    pub label_smoothing: f64,
}

/// The loss of one batch, and what is shown of it.
#[derive(Debug, Clone)]
pub struct TrainingLoss {
    /// A scalar, through which the host backpropagates.
    pub loss: Tensor,
    /// Logits `[batch, class]` of the images that the trainer trains on, for the running accuracy; without gradients.
    pub logits: Tensor,
}

/// What a trainer says of an epoch that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpochEnd {
    /// Training goes on.
    GoOn,
    /// The network becomes what it was before the epoch, and training ends; why, as a sentence without a full stop.
    UndoAndStop(String),
}

/// A way of training.
///
/// For each batch the host calls, in this order: [`AdversarialTrainer::perturb_weights`], whose result it adds to the
/// parameters; [`AdversarialTrainer::loss`]; the backward pass; [`AdversarialTrainer::after_backward`]. The optimiser's step is
/// computed there, weight decay included, and taken from the unperturbed parameters, which are put back bit for bit first. A
/// batch is repeated [`AdversarialTrainer::replays`] times. After the last one comes [`AdversarialTrainer::end_epoch`].
pub trait AdversarialTrainer: Send {
    /// The loss of a batch, with gradients into the parameters of `network`.
    ///
    /// Forward passes in [`crate::network::Mode::Train`] update the running statistics; attacks should run on
    /// [`Network::freeze`], which leaves them alone and computes no weight gradient.
    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss>;

    /// Asked before anything is computed: will it train this network for so many epochs?
    ///
    /// Who answers [`Foresight::Fits`] or [`Foresight::FitsBut`] must not refuse that work later.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Settings`] for what it will refuse, saying what it takes.
    fn check(&self, _network: &Declaration, _epochs: usize) -> Result<Foresight> {
        Ok(Foresight::Unknown)
    }

    /// How often each batch is used before the next one (m of Free-AT).
    fn replays(&self) -> usize {
        1
    }

    /// Whether the loss of a batch is the mean of its images' losses, so that the batch may be given in parts where a GPU has no room for it
    /// whole: [`AdversarialTrainer::loss`] and [`AdversarialTrainer::after_backward`] are then called for each part, and their gradients
    /// are added up, weighted by the share of images, for one step.
    ///
    /// False for what belongs to the whole batch, or to places in it. Weights are perturbed by whole batches only, whatever this says.
    fn takes_parts(&self) -> bool {
        true
    }

    /// Whether [`AdversarialTrainer::teacher`] must be called before the first batch.
    fn needs_teacher(&self) -> bool {
        false
    }

    /// Gives the network to learn from (distillation): the dense network of a run to those that fine-tune its pruned ones.
    ///
    /// It never changes while it is learnt from; a trainer that keeps [`Network::freeze`] of it needs no copy.
    fn teacher(&mut self, _network: &Network) -> Result<()> {
        Ok(())
    }

    /// An offset for some parameters, added before the loss and taken off after the gradient (adversarial weight perturbation).
    fn perturb_weights(
        &mut self,
        _step: &TrainingStep<'_>,
        _network: &Network,
        _batch: &Batch,
    ) -> Result<Option<Weights>> {
        Ok(None)
    }

    /// Sees the gradients of the step (Free-AT moves its perturbation by the images' gradient here).
    fn after_backward(&mut self, _step: &TrainingStep<'_>, _gradients: &GradStore) -> Result<()> {
        Ok(())
    }

    /// Sees the network after the last batch of an epoch, and may ask for the epoch to be undone and training to end there.
    ///
    /// It must not change the network, its running statistics included.
    fn end_epoch(&mut self, _step: &TrainingStep<'_>, _network: &Network) -> Result<EpochEnd> {
        Ok(EpochEnd::GoOn)
    }

    /// What must survive between steps beside the network: saved in checkpoints.
    fn state(&self) -> Weights {
        Weights::new()
    }

    /// Puts back what [`AdversarialTrainer::state`] gave.
    fn restore(&mut self, _state: Weights) -> Result<()> {
        Ok(())
    }
}
