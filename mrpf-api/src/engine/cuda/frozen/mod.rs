//! The attack engine on a GPU: weights that do not move, forward, and back to the images and no further.
//!
//! A pass over a batch of one size is recorded once and then started as a whole, so that the GPU does not wait for the program.

mod weights;

use candle_core::Tensor;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use self::weights::{StepWeights, Unfolded};
use super::depthwise::Depthwise;
use super::gpu::{Gpu, with_address};
use super::gradients::Gradients;
use super::layer_norm::LayerNormStep;
use super::memory::DeviceBuffer;
use super::pass::{Values, convolution_sizes};
use super::queue::{Queue, Repeated};
use crate::Result;
use crate::engine::plan::{IMAGES, Plan};
use crate::network::{Declaration, FoldedNorms, LayerKind, Weights};
use crate::numeric::Precision;

/// How many sizes of batches are kept ready. Attacks leave images alone that are broken, so that batches shrink as they go.
const READY: usize = 8;

/// A plan with the weights of one moment, on a GPU.
#[derive(Debug)]
pub(crate) struct CudaFrozen {
    pub(super) gpu: Arc<Gpu>,
    plan: Arc<Plan>,
    /// With batch norms folded, as the plan is.
    declaration: Arc<Declaration>,
    norms: Arc<FoldedNorms>,
    weights: Vec<StepWeights>,
    ready: Mutex<VecDeque<Pass>>,
}

/// A pass that can be done again.
#[derive(Debug)]
struct Pass {
    values: Values,
    forward: Repeated,
    backward: Option<Backward>,
}

#[derive(Debug)]
struct Backward {
    by_logits: DeviceBuffer,
    by_images: DeviceBuffer,
    work: Repeated,
}

/// What the backward pass needs of the forward one. The pass is nobody else's while this is held.
#[derive(Debug)]
pub(crate) struct CudaTrace<'a> {
    engine: &'a CudaFrozen,
    pass: Mutex<Option<Pass>>,
    batch: usize,
}

impl Drop for CudaTrace<'_> {
    fn drop(&mut self) {
        let pass = self.pass.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut ready = self.engine.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.extend(pass);
        if ready.len() > READY {
            ready.pop_front();
        }
    }
}

/// Batches are computed in so many images: few sizes, so that passes are recorded seldom.
fn rounded(batch: usize) -> usize {
    let step = (batch.next_power_of_two() / 8).max(4);
    batch.next_multiple_of(step)
}

impl CudaFrozen {
    /// A place for the weights of a declaration whose norms are folded, which `plan` belongs to.
    pub fn new(gpu: Arc<Gpu>, plan: Arc<Plan>, declaration: Arc<Declaration>, norms: Arc<FoldedNorms>) -> Result<Self> {
        let of_step = |at| StepWeights::new(&gpu, &plan, &declaration, &norms, at);
        let weights = (0..plan.steps.len()).map(of_step).collect::<Result<_>>()?;
        Ok(Self { gpu, plan, declaration, norms, weights, ready: Mutex::default() })
    }

    /// What it computes in.
    pub fn precision(&self) -> Precision {
        self.gpu.precision
    }

    /// Takes the weights and statistics of the network as it is before folding.
    pub fn load(&mut self, weights: &Weights, statistics: &Weights) -> Result<()> {
        let network = Unfolded { weights, statistics };
        for (at, step) in self.weights.iter().enumerate() {
            step.load(&self.gpu, &self.plan, &self.declaration, &self.norms, at, &network)?;
        }
        Ok(())
    }

    /// Whether passes are kept that nobody is in the middle of.
    pub fn has_ready(&self) -> bool {
        !self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Gives back the memory of those passes.
    pub fn release_memory(&self) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.gpu.memory.give_back();
    }

    /// Logits `[batch, class]` of images `[batch, channel, height, width]` in f32 on the GPU, and what a backward pass needs.
    pub fn forward(&self, images: &Tensor) -> Result<(Tensor, CudaTrace<'_>)> {
        let batch = images.dim(0)?;
        let capacity = rounded(batch);
        let waiting = {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            let at = ready.iter().position(|pass| pass.values.batch == capacity);
            at.and_then(|at| ready.remove(at))
        };
        let mut pass = match waiting {
            Some(pass) => pass,
            None => {
                let values = Values::new(&self.gpu, &self.plan, capacity)?;
                // Images beyond the batch are computed as well, and nobody looks at them.
                self.gpu.clear(&values.images)?;
                Pass { values, forward: Repeated::New, backward: None }
            }
        };
        let bytes = batch * self.plan.sizes[IMAGES].len() * size_of::<f32>();
        let images = images.contiguous()?;
        with_address(&images, |images| self.gpu.copy(images, pass.values.images.address(), bytes))?;
        let Pass { values, forward, .. } = &mut pass;
        forward.run(&self.gpu, |queue| self.enqueue_forward(queue, values))?;
        let logits = self.gpu.tensor(values.logits.address(), &[batch, self.plan.classes()])?;
        Ok((logits, CudaTrace { engine: self, pass: Mutex::new(Some(pass)), batch }))
    }

    fn enqueue_forward(&self, queue: &mut Queue<'_>, values: &mut Values) -> Result<()> {
        for (at, step) in self.plan.steps.iter().enumerate() {
            match &self.weights[at] {
                StepWeights::Convolution { filters, bias, .. } => {
                    let kind = &self.declaration.layers[step.layer].kind;
                    let bias = bias.as_ref().map_or(0, DeviceBuffer::address);
                    values.forward_convolution(queue, &self.plan, at, kind, [filters.address(), bias])?;
                }
                StepWeights::Depthwise { filters, bias, .. } => {
                    let LayerKind::Conv2d(conv) = &self.declaration.layers[step.layer].kind else { continue };
                    let y = values.output(queue, &self.plan, at)?;
                    let bias = bias.as_ref().map_or(0, DeviceBuffer::address);
                    let convolution = Depthwise::new(&self.plan, at, values.batch, conv);
                    convolution.forward(queue, values, [filters.address(), bias, y])?;
                }
                StepWeights::LayerNorm { scale, shift } => {
                    let y = values.output(queue, &self.plan, at)?;
                    let norm = self.layer_norm(at, values.batch);
                    norm.forward(queue, values, [scale.address(), shift.address(), y])?;
                }
                StepWeights::Linear { weight, bias } => {
                    let bias = bias.as_ref().map_or(0, DeviceBuffer::address);
                    values.forward_linear(queue, &self.plan, at, [weight.address(), bias])?;
                }
                StepWeights::Plain(constants) => values.forward_plain(queue, &self.plan, at, constants)?,
            }
        }
        values.forward_logits(queue, &self.plan)
    }

    fn layer_norm(&self, at: usize, batch: usize) -> LayerNormStep {
        LayerNormStep::new(&self.plan, at, batch, &self.declaration.layers[self.plan.steps[at].layer].kind)
    }

    fn enqueue_backward(&self, queue: &mut Queue<'_>, values: &Values, by_logits: u64, by_images: u64) -> Result<()> {
        let is_needed = vec![true; self.plan.sizes.len()];
        let mut gradients = Gradients::new(queue, &self.plan, values, &is_needed, by_logits)?;
        for (at, step) in self.plan.steps.iter().enumerate().rev() {
            let Some(gradient) = gradients.of_step(queue, at)? else { continue };
            match &self.weights[at] {
                StepWeights::Convolution { filters, .. } => {
                    let kind = &self.declaration.layers[step.layer].kind;
                    let Some(sizes) = convolution_sizes(values.batch, &self.plan, at, kind) else { continue };
                    let by_x = values.take(queue, self.plan.sizes[step.input])?;
                    queue.convolve_by_input(&sizes, [gradient.address(), filters.address(), by_x.address()])?;
                    gradients.add(step.input, by_x);
                }
                StepWeights::Linear { weight, .. } => {
                    gradients.linear_by_input(queue, at, gradient.address(), weight.address())?
                }
                StepWeights::Depthwise { filters, .. } => {
                    let LayerKind::Conv2d(conv) = &self.declaration.layers[step.layer].kind else { continue };
                    let by_x = values.take(queue, self.plan.sizes[step.input])?;
                    let places = [gradient.address(), filters.address(), by_x.address()];
                    Depthwise::new(&self.plan, at, values.batch, conv).by_input(queue, places)?;
                    gradients.add(step.input, by_x);
                }
                StepWeights::LayerNorm { scale, .. } => {
                    let by_x = values.take(queue, self.plan.sizes[step.input])?;
                    let places = [gradient.address(), scale.address(), by_x.address()];
                    self.layer_norm(at, values.batch).by_input(queue, values, places)?;
                    gradients.add(step.input, by_x);
                }
                StepWeights::Plain(constants) => gradients.plain(queue, at, &gradient, constants, by_images)?,
            }
            gradients.pass_on(at, gradient);
        }
        Ok(())
    }
}

impl CudaTrace<'_> {
    /// Gradient by the images, as their shape says, of what has the given gradient `[batch, class]` by the logits.
    pub fn backward(&self, by_logits: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let engine = self.engine;
        let (gpu, plan) = (&engine.gpu, &engine.plan);
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let none = || crate::Error::new(crate::ErrorKind::Tensor, "a pass without its values");
        let Pass { values, backward, .. } = pass.as_mut().ok_or_else(none)?;
        let backward = match backward {
            Some(backward) => backward,
            none => {
                let floats = |count: usize| values.memory.take(&gpu.stream, count * size_of::<f32>());
                let by_logits = floats(values.batch * plan.classes())?;
                gpu.clear(&by_logits)?;
                let by_images = floats(values.batch * plan.sizes[IMAGES].len())?;
                none.insert(Backward { by_logits, by_images, work: Repeated::New })
            }
        };
        let bytes = self.batch * plan.classes() * size_of::<f32>();
        let given = by_logits.contiguous()?;
        with_address(&given, |from| gpu.copy(from, backward.by_logits.address(), bytes))?;
        let Backward { by_logits, by_images, work } = backward;
        work.run(gpu, |queue| engine.enqueue_backward(queue, values, by_logits.address(), by_images.address()))?;
        gpu.tensor(by_images.address(), shape)
    }
}
