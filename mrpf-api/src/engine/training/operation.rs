//! A training pass on Candle's graph.
//!
//! An operation there takes three arguments at most, and the logits depend on all weights. So the pass is one operation on the
//! images, and one more on each weight follows that leaves the logits as they are: going back, the first to be asked computes all
//! gradients, and each takes its own.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Shape, Tensor};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Found, TrainingPass};
use crate::Result;
use crate::network::Weights;
use crate::numeric::kernel::read;

/// The logits `[batch, class]` of a pass with gradients into the images and into those weights that are tracked.
pub(crate) fn attach(pass: TrainingPass, logits: Vec<f32>, images: &Tensor, weights: &Weights) -> Result<Tensor> {
    let shape = Shape::from((pass.batch, pass.plan.classes()));
    let tracked: Vec<(&String, &Tensor)> = weights.iter().filter(|(_, weight)| weight.track_op()).collect();
    let by_images = images.track_op();
    if tracked.is_empty() && !by_images {
        return Ok(Tensor::from_vec(logits, shape, &Device::Cpu)?);
    }
    let wanted = tracked.iter().map(|(name, _)| (*name).clone()).collect();
    let shared = Arc::new(Shared { pass, wanted, by_images, found: Mutex::default() });
    let mut out = match by_images {
        true => {
            images.apply_op1(OfImages { shared: shared.clone(), logits, shape, is_first_asked: tracked.is_empty() })?
        }
        false => Tensor::from_vec(logits, shape, &Device::Cpu)?,
    };
    let count = tracked.len();
    for (at, (name, weight)) in tracked.into_iter().enumerate() {
        let operation = OfWeight { shared: shared.clone(), name: name.clone(), is_first_asked: at + 1 == count };
        out = out.apply_op2(weight, operation)?;
    }
    Ok(out)
}

struct Shared {
    pass: TrainingPass,
    wanted: BTreeSet<String>,
    by_images: bool,
    found: Mutex<Found>,
}

impl Shared {
    /// Computes all gradients.
    fn run(&self, gradient: &Tensor) -> candle_core::Result<()> {
        let found = read(gradient, |gradient| {
            self.pass.backward(gradient, &self.wanted, self.by_images).map_err(candle_core::Error::wrap)
        })?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}

/// The whole pass as a function of the images.
struct OfImages {
    shared: Arc<Shared>,
    logits: Vec<f32>,
    shape: Shape,
    /// Whether no other operation of the pass comes before this one on the way back.
    is_first_asked: bool,
}

impl CustomOp1 for OfImages {
    fn name(&self) -> &'static str {
        "training pass"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.logits.clone()), self.shape.clone()))
    }

    fn bwd(&self, images: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        if self.is_first_asked {
            self.shared.run(gradient)?;
        }
        let found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).by_images.take();
        found.map(|values| Tensor::from_vec(values, images.shape(), &Device::Cpu)).transpose()
    }
}

/// The logits, unchanged, as a function of a weight.
struct OfWeight {
    shared: Arc<Shared>,
    name: String,
    is_first_asked: bool,
}

impl CustomOp2 for OfWeight {
    fn name(&self) -> &'static str {
        "training pass"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("logits of shape {:?} are not contiguous", layout.shape())
        };
        Ok((CpuStorage::F32(logits.as_slice::<f32>()?[start..end].to_vec()), layout.shape().clone()))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        if self.is_first_asked {
            self.shared.run(gradient)?;
        }
        let found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).by_weight.remove(&self.name);
        let by_weight = found.map(|values| Tensor::from_vec(values, weight.shape(), &Device::Cpu)).transpose()?;
        Ok((logits.track_op().then(|| gradient.clone()), by_weight))
    }
}
