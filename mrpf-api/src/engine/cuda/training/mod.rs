//! A training pass on a GPU: batch norm by the batch, and the gradient by every weight that one is wanted of.

mod backward;
mod forward;

use candle_core::Tensor;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::forward::{Key, OfStep, TrainingPass};
use super::gpu::Argument::{Address, Double, Long};
use super::gpu::{Gpu, Grid, with_address};
use crate::Result;
use crate::engine::plan::{IMAGES, Plan, StepKind};
use crate::network::{Declaration, Weights};

/// How many passes are kept ready: TRADES has two at a time, and an epoch's last batch is smaller.
const READY: usize = 4;

/// Passes of a network that can be done again.
#[derive(Debug, Default)]
pub(crate) struct TrainingHome(Mutex<Vec<TrainingPass>>);

/// A pass under way. It belongs to nobody else while this is held.
#[derive(Debug)]
pub(crate) struct TrainingRun {
    home: Arc<TrainingHome>,
    pass: Mutex<Option<TrainingPass>>,
    /// Those of the pass, which must not go away before its way back.
    weights: Weights,
}

impl Drop for TrainingRun {
    fn drop(&mut self) {
        let pass = self.pass.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut ready = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready.extend(pass);
        if ready.len() > READY {
            ready.remove(0);
        }
    }
}

/// What is wanted of the way back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub weights: Vec<String>,
    pub by_images: bool,
}

/// What the way back found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub by_weight: BTreeMap<String, Tensor>,
    pub by_images: Option<Tensor>,
}

impl TrainingRun {
    /// Runs forward: the logits `[batch, class]` of images `[batch, channel, height, width]`, in f32 on the GPU.
    pub fn run(
        gpu: Arc<Gpu>,
        home: &Arc<TrainingHome>,
        plan: &Arc<Plan>,
        declaration: &Arc<Declaration>,
        weights: Weights,
        images: &Tensor,
        wanted: Wanted,
    ) -> Result<(Self, Tensor)> {
        let batch = images.dim(0)?;
        let address = |(name, weight): (&String, &Tensor)| Ok((name.clone(), with_address(weight, Ok)?));
        let addresses = weights.iter().map(address).collect::<Result<_>>()?;
        let key = Key { batch, addresses, wanted: wanted.weights, by_images: wanted.by_images };
        let waiting = {
            let mut ready = home.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = ready.iter().position(|pass| pass.key == key && pass.gpu.precision == gpu.precision);
            at.map(|at| ready.remove(at))
        };
        let mut pass = match waiting {
            Some(pass) => pass,
            None => TrainingPass::new(key, gpu, plan.clone(), declaration.clone(), &weights)?,
        };
        let images = images.contiguous()?;
        let bytes = batch * pass.plan.sizes[IMAGES].len() * size_of::<f32>();
        with_address(&images, |from| pass.gpu.copy(from, pass.values.images.address(), bytes))?;
        pass.forward()?;
        let logits = pass.gpu.tensor(pass.values.logits.address(), &[batch, pass.plan.classes()])?;
        Ok((Self { home: home.clone(), pass: Mutex::new(Some(pass)), weights }, logits))
    }

    /// New running statistics of a batch norm, mean and variance, moved from the old ones as PyTorch does: the batch was normalised by
    /// the biased variance, the running one takes the unbiased.
    pub fn moved_statistics(&self, layer: usize, old: [&Tensor; 2], momentum: f64) -> Result<Option<[Tensor; 2]>> {
        let pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pass) = pass.as_ref() else { return Ok(None) };
        let is_it = |at: &usize| {
            pass.plan.steps[*at].layer == layer && matches!(pass.plan.steps[*at].kind, StepKind::BatchNorm)
        };
        let Some(at) = (0..pass.plan.steps.len()).find(is_it) else { return Ok(None) };
        let OfStep::Norm { mean, variance, .. } = &pass.steps[at] else { return Ok(None) };
        let sizes = pass.plan.sizes[at + 1];
        let count = (pass.values.batch * sizes.pixels()) as f64;
        let [new_mean, new_variance] = [pass.gpu.room(&[sizes.channels])?, pass.gpu.room(&[sizes.channels])?];
        let places = [old[0], old[1], &new_mean, &new_variance].map(|tensor| with_address(tensor, Ok));
        let [old_mean, old_variance, to_mean, to_variance] = places;
        pass.gpu.launch(
            "move_statistics",
            Grid::of(sizes.channels),
            &[
                Address(old_mean?),
                Address(old_variance?),
                Address(mean.address()),
                Address(variance.address()),
                Double(momentum),
                Double(count / (count - 1.0)),
                Address(to_mean?),
                Address(to_variance?),
                Long(sizes.channels as i64),
            ],
        )?;
        Ok(Some([new_mean, new_variance]))
    }

    /// Goes back from the gradient `[batch, class]` by the logits.
    pub(super) fn backward(&self, by_logits: &Tensor) -> Result<Found> {
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pass) = pass.as_mut() else { return Ok(Found::default()) };
        let given = by_logits.contiguous()?;
        let bytes = pass.values.batch * pass.plan.classes() * size_of::<f32>();
        with_address(&given, |from| pass.gpu.copy(from, pass.by_logits.address(), bytes))?;
        pass.backward()?;
        let mut found = Found::default();
        if let Some(all) = &pass.by_weights {
            let all = pass
                .gpu
                .tensor(all.address(), &[pass.starts.keys().map(|name| self.weights[name].elem_count()).sum()])?;
            for (name, start) in &pass.starts {
                let weight = &self.weights[name];
                found
                    .by_weight
                    .insert(name.clone(), all.narrow(0, *start, weight.elem_count())?.reshape(weight.shape())?);
            }
        }
        if pass.key.by_images {
            let input = pass.declaration.input;
            let shape = [pass.values.batch, input.channels, input.height, input.width];
            found.by_images = Some(pass.gpu.tensor(pass.by_images.address(), &shape)?);
        }
        Ok(found)
    }
}
