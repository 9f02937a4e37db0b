//! What an attack sees of a network: logits, and the gradient of a loss on logits with respect to the images.

use candle_core::{DType, Device, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::declaration::Declaration;
use super::fold::{Folded, fold};
use super::forward::{Mode, check_images};
use super::weights::{Network, Weights};
use crate::engine::{FrozenEngine, Plan, PlanFor, Trace};
use crate::numeric::kernel::{is_native, read};
use crate::{Error, ErrorKind, Result};

/// A loss of each image, `[batch]`, computed from the logits `[batch, class]`.
pub type LossOnLogits<'a> = dyn Fn(&Tensor) -> Result<Tensor> + 'a;

/// Gradient with respect to the images, with what was computed on the way.
#[derive(Debug, Clone)]
pub struct InputGradient {
    /// Gradient of the sum of all images' losses: row i is the gradient of image i's own loss. `[batch, channel, height, width]`.
    pub gradient: Tensor,
    /// Loss of each image at the given point, `[batch]`.
    pub loss: Tensor,
    /// Logits at the given point, `[batch, class]`.
    pub logits: Tensor,
}

/// A classifier under attack: a function from images to logits whose weights do not move.
///
/// Nothing here computes a gradient of a weight.
pub trait Classifier {
    /// Logits `[batch, class]` of images `[batch, channel, height, width]` in [0, 1], without gradients.
    fn logits(&self, images: &Tensor) -> Result<Tensor>;

    /// The gradient of a loss on the logits with respect to the images.
    ///
    /// # Errors
    /// [`ErrorKind::Numeric`] if the loss does not depend on the images at all.
    fn input_gradient(&self, images: &Tensor, loss: &LossOnLogits<'_>) -> Result<InputGradient>;

    /// The gradients of several losses at the same images, in their order; cheaper than one by one where the classifier can go
    /// back more than once from one forward pass.
    ///
    /// # Errors
    /// As [`Classifier::input_gradient`].
    fn input_gradients(&self, images: &Tensor, losses: &[&LossOnLogits<'_>]) -> Result<Vec<InputGradient>> {
        losses.iter().map(|loss| self.input_gradient(images, loss)).collect()
    }

    /// Number of classes.
    fn classes(&self) -> usize;

    /// Gives back the memory of a GPU that is kept for passes to come, as [`Network::release_memory`] does.
    fn release_memory(&self) -> Result<()> {
        Ok(())
    }
}

/// A network with frozen weights.
#[derive(Debug)]
pub struct FrozenNetwork {
    pub(super) declaration: Arc<Declaration>,
    /// What folding multiplied the filters of a convolution by.
    pub(super) factors: BTreeMap<String, Tensor>,
    pub(super) work: Work,
}

/// How a frozen network computes.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// The fast way, for networks that it knows.
    Engine(Arc<FrozenEngine>),
    /// The same on an NVIDIA GPU.
    #[cfg(feature = "cudnn")]
    Gpu(Arc<super::gpu::Lease>),
    Operations {
        network: Arc<Network>,
        weights: Weights,
        mode: Mode,
    },
}

impl FrozenNetwork {
    /// Freezes a network in evaluation mode, with batch norm folded into the convolutions.
    pub(super) fn new(network: &Network) -> Result<Self> {
        #[cfg(feature = "cudnn")]
        if let Some(frozen) = super::gpu::freeze(network)? {
            return Ok(frozen);
        }
        let Folded { declaration, weights, statistics, factors } =
            fold(network.declaration(), &network.frozen_weights(), &network.statistics())?;
        if network.dtype() == DType::F32
            && weights.values().all(is_native)
            && let Some(plan) = Plan::new(&declaration, &declaration.wiring()?, PlanFor::Processor)
        {
            let engine =
                FrozenEngine::new(Arc::new(plan), network.memory.clone(), &declaration, &weights, &statistics)?;
            return Ok(Self { declaration: Arc::new(declaration), factors, work: Work::Engine(Arc::new(engine)) });
        }
        let network = Network::from_tensors(declaration, weights, statistics)?;
        Ok(Self::by_operations(network, factors, Mode::Evaluate))
    }

    /// A copy that normalises by the batch, for trainers whose attack runs in training mode; running statistics stay as they are.
    pub fn in_training_mode(network: &Network) -> Result<Self> {
        Ok(Self::by_operations(network.duplicate()?, BTreeMap::new(), Mode::TrainKeepingStatistics))
    }

    /// Batch norms folded, and everything by single operations.
    #[cfg(feature = "cudnn")]
    pub(super) fn folded_operations(
        declaration: &Declaration,
        weights: &Weights,
        statistics: &Weights,
    ) -> Result<Self> {
        let Folded { declaration, weights, statistics, factors } = fold(declaration, weights, statistics)?;
        let network = Network::from_tensors(declaration, weights, statistics)?;
        Ok(Self::by_operations(network, factors, Mode::Evaluate))
    }

    fn by_operations(network: Network, factors: BTreeMap<String, Tensor>, mode: Mode) -> Self {
        let (declaration, weights) = (network.declaration.clone(), network.frozen_weights());
        Self { declaration, factors, work: Work::Operations { network: Arc::new(network), weights, mode } }
    }
}

impl FrozenNetwork {
    /// Whether the engine knows the network.
    #[cfg(test)]
    pub(crate) fn has_engine(&self) -> bool {
        matches!(self.work, Work::Engine(_))
    }

    /// Logits by the engine, with what its backward pass needs.
    fn run(&self, engine: &FrozenEngine, images: &Tensor) -> Result<(Tensor, Trace)> {
        check_images(&self.declaration, images)?;
        let batch = images.dim(0)?;
        let (logits, trace) = read(&images.to_dtype(DType::F32)?, |images| Ok(engine.forward(images)))?;
        Ok((Tensor::from_vec(logits, (batch, self.classes()), &Device::Cpu)?, trace))
    }

    /// The loss is differentiated down to the logits as it is written; from there the engine goes on.
    fn engine_gradient(
        &self,
        engine: &FrozenEngine,
        images: &Tensor,
        (logits, trace): (&Tensor, &Trace),
        loss: &LossOnLogits<'_>,
    ) -> Result<InputGradient> {
        let (loss, by_logits) = differentiate(logits, loss)?;
        let gradient = read(&by_logits, |by_logits| Ok(engine.backward(trace, by_logits)))?;
        let gradient = Tensor::from_vec(gradient, images.shape(), &Device::Cpu)?;
        Ok(InputGradient { gradient, loss, logits: logits.clone() })
    }
}

/// A loss of each image at given logits, and its gradient by them.
pub(super) fn differentiate(logits: &Tensor, loss: &LossOnLogits<'_>) -> Result<(Tensor, Tensor)> {
    let logits = Var::from_tensor(logits)?;
    let per_image = loss(&logits)?;
    let mut gradients = per_image.sum_all()?.backward()?;
    let by_logits = gradients.remove(&logits).ok_or_else(no_gradient)?;
    Ok((per_image.detach(), by_logits))
}

fn no_gradient() -> Error {
    Error::new(ErrorKind::Numeric, "the attacked loss has no gradient with respect to the images")
        .hint("compute the loss from the logits that are passed in, without detaching them")
}

impl Classifier for FrozenNetwork {
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        match &self.work {
            Work::Engine(engine) => Ok(self.run(engine, images)?.0),
            #[cfg(feature = "cudnn")]
            Work::Gpu(lease) => lease.logits(&self.declaration, images),
            Work::Operations { network, weights, mode } => network.forward_with(weights, &images.detach(), *mode),
        }
    }

    fn input_gradient(&self, images: &Tensor, loss: &LossOnLogits<'_>) -> Result<InputGradient> {
        let (network, weights, mode) = match &self.work {
            Work::Engine(engine) => {
                let (logits, trace) = self.run(engine, images)?;
                return self.engine_gradient(engine, images, (&logits, &trace), loss);
            }
            #[cfg(feature = "cudnn")]
            Work::Gpu(lease) => {
                let found = lease.gradients(&self.declaration, images, &[loss])?;
                return found.into_iter().next().ok_or_else(no_gradient);
            }
            Work::Operations { network, weights, mode } => (network, weights, *mode),
        };
        let images = Var::from_tensor(&images.detach())?;
        let logits = network.forward_with(weights, &images, mode)?;
        let per_image = loss(&logits)?;
        let mut gradients = per_image.sum_all()?.backward()?;
        let gradient = gradients.remove(&images).ok_or_else(no_gradient)?;
        Ok(InputGradient { gradient, loss: per_image.detach(), logits: logits.detach() })
    }

    fn input_gradients(&self, images: &Tensor, losses: &[&LossOnLogits<'_>]) -> Result<Vec<InputGradient>> {
        #[cfg(feature = "cudnn")]
        if let Work::Gpu(lease) = &self.work {
            return lease.gradients(&self.declaration, images, losses);
        }
        let Work::Engine(engine) = &self.work else {
            return losses.iter().map(|loss| self.input_gradient(images, loss)).collect();
        };
        let (logits, trace) = self.run(engine, images)?;
        losses.iter().map(|loss| self.engine_gradient(engine, images, (&logits, &trace), loss)).collect()
    }

    fn classes(&self) -> usize {
        self.declaration.classes
    }

    fn release_memory(&self) -> Result<()> {
        match &self.work {
            Work::Engine(_) => Ok(()),
            #[cfg(feature = "cudnn")]
            Work::Gpu(lease) => lease.release_memory(),
            Work::Operations { network, .. } => network.release_memory(),
        }
    }
}
