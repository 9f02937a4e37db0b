//! A training pass on Candle's graph, as on the CPU: operations take three arguments at most, so each weight has one of its own.
//!
//! Here they are joined by a token, a tensor of one number that nobody reads. The pass itself comes last: on the way back it is asked
//! first and computes all gradients, and each operation on a weight then takes its own.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Device, Layout, Shape, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

use super::gpu::Gpu;
use super::training::{Found, TrainingRun};
use crate::Result;
use crate::network::Weights;

/// The logits of a pass with gradients into the images and into those weights that are tracked.
pub(crate) fn attach(run: TrainingRun, logits: Tensor, images: &Tensor, weights: &Weights) -> Result<Tensor> {
    let shared = Arc::new(Shared { run, found: Mutex::default() });
    let mut token: Option<Tensor> = None;
    for (name, weight) in weights.iter().filter(|(_, weight)| weight.track_op()) {
        let operation = OfWeight { shared: shared.clone(), name: name.clone() };
        token = Some(match token {
            None => weight.apply_op1(operation)?,
            Some(token) => weight.apply_op2(&token, operation)?,
        });
    }
    let pass = Pass { shared, logits: logits.clone() };
    Ok(match (images.track_op(), token) {
        (true, Some(token)) => images.apply_op2(&token, pass)?,
        (true, None) => images.apply_op1(pass)?,
        (false, Some(token)) => token.apply_op1(pass)?,
        (false, None) => logits,
    })
}

struct Shared {
    run: TrainingRun,
    found: Mutex<Found>,
}

impl Shared {
    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes all gradients, and gives that by the images.
    fn backward(&self, by_logits: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let mut found = self.run.backward(by_logits).map_err(candle_core::Error::wrap)?;
        let by_images = found.by_images.take();
        *self.found() = found;
        Ok(by_images)
    }
}

/// The pass, as a function of the images, of the token, or of both.
struct Pass {
    shared: Arc<Shared>,
    logits: Tensor,
}

impl Pass {
    fn storage(&self) -> candle_core::Result<(CudaStorage, Shape)> {
        Ok((Gpu::copy_of(&self.logits)?, self.logits.shape().clone()))
    }
}

fn no_cpu<T>() -> candle_core::Result<T> {
    candle_core::bail!("a training pass on a GPU was asked for numbers on the CPU")
}

/// The gradient by a token: of the right shape, and nothing else.
fn of_token(device: &Device) -> candle_core::Result<Tensor> {
    Tensor::zeros(1, DType::F32, device)
}

impl CustomOp1 for Pass {
    fn name(&self) -> &'static str {
        "training pass"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        no_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        self.storage()
    }

    fn bwd(&self, argument: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        match self.shared.backward(gradient)? {
            Some(by_images) => Ok(Some(by_images)),
            None => Ok(Some(of_token(argument.device())?)),
        }
    }
}

impl CustomOp2 for Pass {
    fn name(&self) -> &'static str {
        "training pass"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        no_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.storage()
    }

    fn bwd(
        &self,
        images: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.shared.backward(gradient)?, Some(of_token(images.device())?)))
    }
}

/// A weight's part in the token.
struct OfWeight {
    shared: Arc<Shared>,
    name: String,
}

impl OfWeight {
    fn token(&self, like: &CudaStorage) -> candle_core::Result<(CudaStorage, Shape)> {
        Ok((Gpu::token(like)?, Shape::from(1)))
    }

    fn by_weight(&self) -> Option<Tensor> {
        self.shared.found().by_weight.remove(&self.name)
    }
}

impl CustomOp1 for OfWeight {
    fn name(&self) -> &'static str {
        "training pass"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        no_cpu()
    }

    fn cuda_fwd(&self, weight: &CudaStorage, _: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        self.token(weight)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(self.by_weight())
    }
}

impl CustomOp2 for OfWeight {
    fn name(&self) -> &'static str {
        "training pass"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        no_cpu()
    }

    fn cuda_fwd(
        &self,
        weight: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.token(weight)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        token: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.by_weight(), Some(token.clone())))
    }
}
