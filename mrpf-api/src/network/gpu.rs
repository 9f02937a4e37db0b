//! Networks on NVIDIA GPUs: which of them the engine there takes, and what is kept between passes.

use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::classifier::{FrozenNetwork, InputGradient, LossOnLogits, Work, differentiate};
use super::declaration::Declaration;
use super::fold::{FoldedNorms, fold_layers};
use super::forward::{Mode, check_images};
use super::layer_kind::LayerKind;
use super::weights::{Network, Weights};
use crate::Result;
use crate::engine::cuda::{CudaFrozen, Gpu, TrainingHome, TrainingRun, Wanted, attach, cuda_device};
use crate::engine::{Plan, PlanFor};

/// What a network keeps on the GPU.
#[derive(Debug, Default)]
pub(super) struct Home {
    folded: OnceLock<Option<Folded>>,
    /// Engines that nobody attacks with at the moment.
    idle: Arc<Mutex<Vec<CudaFrozen>>>,
    training: Mutex<Arc<TrainingHome>>,
}

/// The network with its norms folded, as a plan.
#[derive(Debug, Clone)]
struct Folded {
    declaration: Arc<Declaration>,
    norms: Arc<FoldedNorms>,
    plan: Arc<Plan>,
}

/// An engine with the weights of one moment; it goes back when nobody needs it any more.
#[derive(Debug)]
pub(super) struct Lease {
    engine: Option<CudaFrozen>,
    idle: Arc<Mutex<Vec<CudaFrozen>>>,
    declaration: Arc<Declaration>,
    weights: Weights,
    statistics: Weights,
    by_operations: OnceLock<FrozenNetwork>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.engine.take());
    }
}

/// The GPU that the network's weights are on, if the engine takes them.
fn engine_device(network: &Network) -> Option<&candle_core::cuda_backend::CudaDevice> {
    cuda_device(network.device()).filter(|_| network.dtype() == DType::F32)
}

/// The network as attacks see it; none if the engine does not know it.
pub(super) fn freeze(network: &Network) -> Result<Option<FrozenNetwork>> {
    let Some(device) = engine_device(network) else { return Ok(None) };
    let fold = || {
        let (declaration, norms) = fold_layers(network.declaration());
        let plan = declaration.wiring().ok().and_then(|wiring| Plan::new(&declaration, &wiring, PlanFor::Gpu))?;
        Some(Folded { declaration: Arc::new(declaration), norms: Arc::new(norms), plan: Arc::new(plan) })
    };
    let Some(Folded { declaration, norms, plan }) = network.gpu.folded.get_or_init(fold).clone() else {
        return Ok(None);
    };
    let gpu = Gpu::of(device, network.precision())?;
    let idle = {
        let mut idle = network.gpu.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|engine| engine.precision() == network.precision());
        at.map(|at| idle.swap_remove(at))
    };
    let mut engine = match idle {
        Some(engine) => engine,
        None => CudaFrozen::new(gpu, plan, declaration.clone(), norms)?,
    };
    let (weights, statistics) = (network.frozen_weights(), network.statistics());
    engine.load(&weights, &statistics)?;
    let lease = Lease {
        engine: Some(engine),
        idle: network.gpu.idle.clone(),
        declaration: network.declaration.clone(),
        weights,
        statistics,
        by_operations: OnceLock::new(),
    };
    Ok(Some(FrozenNetwork { declaration, factors: BTreeMap::new(), work: Work::Gpu(Arc::new(lease)) }))
}

impl Lease {
    /// Logits `[batch, class]`.
    pub fn logits(&self, declaration: &Declaration, images: &Tensor) -> Result<Tensor> {
        check_images(declaration, images)?;
        let Some(engine) = &self.engine else { return Err(gone()) };
        self.with_room(engine, || Ok(engine.forward(&images.detach().to_dtype(DType::F32)?)?.0))
    }

    /// The gradient of each loss, from one forward pass.
    pub fn gradients(
        &self,
        declaration: &Declaration,
        images: &Tensor,
        losses: &[&LossOnLogits<'_>],
    ) -> Result<Vec<InputGradient>> {
        check_images(declaration, images)?;
        let Some(engine) = &self.engine else { return Err(gone()) };
        self.with_room(engine, || {
            let (logits, trace) = engine.forward(&images.detach().to_dtype(DType::F32)?)?;
            let gradient = |loss: &&LossOnLogits<'_>| {
                let (loss, by_logits) = differentiate(&logits, *loss)?;
                let gradient = trace.backward(&by_logits, images.dims())?;
                Ok(InputGradient { gradient, loss, logits: logits.clone() })
            };
            losses.iter().map(gradient).collect()
        })
    }

    /// Does `work`, a second time without the passes that are kept ready where they leave it no room: attacks go on with fewer and fewer
    /// images, and each size has its pass.
    fn with_room<T>(&self, engine: &CudaFrozen, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(full) if full.is_out_of_memory() && engine.has_ready() => {
                self.release_memory()?;
                work()
            }
            found => found,
        }
    }

    /// Gives back what is kept for passes to come, those of this engine included.
    pub fn release_memory(&self) -> Result<()> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(engine) = &self.engine {
            engine.release_memory();
        }
        self.weights.values().next().map_or(Ok(()), |weight| crate::device::release_memory(weight.device()))
    }

    /// The same network by single operations, for what the engine does not do; with the weights as they are when first asked.
    pub fn by_operations(&self) -> Result<&FrozenNetwork> {
        if self.by_operations.get().is_none() {
            let made = FrozenNetwork::folded_operations(&self.declaration, &self.weights, &self.statistics)?;
            let _ = self.by_operations.set(made);
        }
        self.by_operations.get().ok_or_else(gone)
    }
}

/// Gives back everything that is kept for passes to come.
pub(super) fn release(network: &Network) {
    let Some(device) = cuda_device(network.device()) else { return };
    network.gpu.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    // What a run under way puts back goes with the home that it came from.
    *network.gpu.training.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    if engine_device(network).is_some()
        && network.plan.is_some()
        && let Ok(gpu) = Gpu::of(device, network.precision())
    {
        gpu.memory.give_back();
    }
}

fn gone() -> crate::Error {
    crate::Error::new(crate::ErrorKind::Tensor, "a frozen network without its engine")
}

/// Logits in training mode; none if the engine does not know the network.
pub(super) fn forward(network: &Network, weights: &Weights, images: &Tensor, mode: Mode) -> Result<Option<Tensor>> {
    let (Some(device), Some(plan)) = (engine_device(network), &network.plan) else { return Ok(None) };
    let is_known =
        |tensor: &Tensor| tensor.dtype() == DType::F32 && tensor.device().is_cuda() && tensor.is_contiguous();
    if mode == Mode::Evaluate
        || !weights.values().all(is_known)
        || images.dtype() != DType::F32
        || !images.device().is_cuda()
    {
        return Ok(None);
    }
    check_images(&network.declaration, images)?;
    let gpu = Gpu::of(device, network.precision())?;
    let tracked = weights.iter().filter(|(_, weight)| weight.track_op());
    let wanted = Wanted { weights: tracked.map(|(name, _)| name.clone()).collect(), by_images: images.track_op() };
    let constants: Weights = weights.iter().map(|(name, weight)| (name.clone(), weight.detach())).collect();
    let home = network.gpu.training.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (run, logits) = TrainingRun::run(gpu, &home, plan, &network.declaration, constants, &images.detach(), wanted)?;
    if mode == Mode::Train {
        let mut statistics = network.statistics.write().unwrap_or_else(PoisonError::into_inner);
        for (at, layer) in network.declaration.layers.iter().enumerate() {
            let LayerKind::BatchNorm(norm) = &layer.kind else { continue };
            let names = ["running_mean", "running_var"].map(|role| format!("{}.{role}", layer.name));
            let moved = run.moved_statistics(at, [&statistics[&names[0]], &statistics[&names[1]]], norm.momentum)?;
            for (name, moved) in names.into_iter().zip(moved.into_iter().flatten()) {
                statistics.insert(name, moved);
            }
        }
    }
    attach(run, logits, images, weights).map(Some)
}
