//! The attack engine on a GPU: weights that do not move, forward, and back to the images and no further.
//!
//! A pass over a batch of one size is recorded once and then started as a whole, so that the GPU does not wait for the program.

use candle_core::Tensor;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::convolution::Ending;
use super::gpu::Argument::{Address, Double, Int, Long};
use super::gpu::{EIGHT, Gpu, Grid, with_address};
use super::memory::DeviceBuffer;
use super::pass::{Gradients, Values, convolution_sizes, groups};
use super::queue::{Queue, Repeated};
use crate::Result;
use crate::engine::plan::{IMAGES, Plan, StepKind};
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

#[derive(Debug)]
enum StepWeights {
    None,
    /// Filters `[out, tap, in]`, and a value for each output.
    Convolution {
        filters: DeviceBuffer,
        bias: Option<DeviceBuffer>,
        /// Of the norm that is folded in, in f32.
        factor: Option<DeviceBuffer>,
    },
    /// In f32 `[out, in]` and `[out]`.
    Linear {
        weight: DeviceBuffer,
        bias: Option<DeviceBuffer>,
    },
    /// Factor and offset of each channel, in f32.
    Affine {
        factor: DeviceBuffer,
        offset: DeviceBuffer,
    },
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
        let mut weights = Vec::with_capacity(plan.steps.len());
        for (at, step) in plan.steps.iter().enumerate() {
            let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
            let channels = groups(to) * EIGHT;
            let layer = &declaration.layers[step.layer];
            weights.push(match (&step.kind, &layer.kind) {
                (StepKind::Arrange { factor, offset } | StepKind::Affine { factor, offset }, _) => {
                    StepWeights::Affine {
                        factor: constant(&gpu, factor, channels)?,
                        offset: constant(&gpu, offset, channels)?,
                    }
                }
                (StepKind::Convolution, LayerKind::Conv2d(conv)) => StepWeights::Convolution {
                    filters: gpu
                        .values(channels * conv.geometry.kernel.iter().product::<usize>() * groups(from) * EIGHT)?,
                    bias: if conv.bias { Some(gpu.values(channels)?) } else { None },
                    factor: if norms.contains_key(&layer.name) { Some(gpu.floats(channels)?) } else { None },
                },
                (StepKind::Linear, LayerKind::Linear(linear)) => StepWeights::Linear {
                    weight: gpu.floats(to.channels * from.channels)?,
                    bias: if linear.bias { Some(gpu.floats(to.channels)?) } else { None },
                },
                (StepKind::BatchNorm, _) => {
                    StepWeights::Affine { factor: gpu.floats(channels)?, offset: gpu.floats(channels)? }
                }
                _ => StepWeights::None,
            });
        }
        Ok(Self { gpu, plan, declaration, norms, weights, ready: Mutex::default() })
    }

    /// What it computes in.
    pub fn precision(&self) -> Precision {
        self.gpu.precision
    }

    /// Takes the weights and statistics of the network as it is before folding.
    pub fn load(&mut self, weights: &Weights, statistics: &Weights) -> Result<()> {
        for (at, step) in self.plan.steps.iter().enumerate() {
            let name = &self.declaration.layers[step.layer].name;
            let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
            let own = |role: &str| named(weights, name, role);
            match &self.weights[at] {
                StepWeights::Convolution { filters, bias, factor } => {
                    let LayerKind::Conv2d(conv) = &self.declaration.layers[step.layer].kind else { continue };
                    let factor = factor.as_ref().map_or(0, DeviceBuffer::address);
                    let before = own("bias")?;
                    match (self.norms.get(name), bias) {
                        (Some(norm), Some(bias)) => {
                            let of_norm = |role: &str| named(weights, &norm.name, role);
                            let of_statistics = |role: &str| named(statistics, &norm.name, role);
                            let norm = Norm {
                                scale: of_norm("weight")?,
                                shift: of_norm("bias")?,
                                mean: of_statistics("running_mean")?,
                                variance: of_statistics("running_var")?,
                                epsilon: norm.epsilon,
                            };
                            norm.fold(&self.gpu, before, [factor, 0, bias.address()], to.channels)?;
                        }
                        (None, Some(bias)) => {
                            Norm::default().fold(&self.gpu, before, [0, 0, bias.address()], to.channels)?
                        }
                        _ => {}
                    }
                    let taps = conv.geometry.kernel.iter().product();
                    pack(&self.gpu, own("weight")?, factor, filters.address(), [to.channels, from.channels, taps])?;
                }
                StepWeights::Linear { weight, bias } => {
                    self.gpu.copy(own("weight")?, weight.address(), to.channels * from.channels * size_of::<f32>())?;
                    if let Some(bias) = bias {
                        self.gpu.copy(own("bias")?, bias.address(), to.channels * size_of::<f32>())?;
                    }
                }
                StepWeights::Affine { factor, offset } => {
                    if let (StepKind::BatchNorm, LayerKind::BatchNorm(norm)) =
                        (&step.kind, &self.declaration.layers[step.layer].kind)
                    {
                        let norm = Norm {
                            scale: own("weight")?,
                            shift: own("bias")?,
                            mean: named(statistics, name, "running_mean")?,
                            variance: named(statistics, name, "running_var")?,
                            epsilon: norm.epsilon,
                        };
                        norm.fold(&self.gpu, 0, [factor.address(), offset.address(), 0], to.channels)?;
                    }
                }
                StepWeights::None => {}
            }
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
                    let Some(sizes) = convolution_sizes(values.batch, &self.plan, at, kind) else { continue };
                    let y = values.output(queue, &self.plan, at)?;
                    let other = step.other.map_or(0, |other| values.address(other));
                    let places = [values.address(step.input), filters.address(), y];
                    match bias {
                        Some(bias) => {
                            queue.convolve(&sizes, places, Ending { bias: bias.address(), other, relu: step.relu })?
                        }
                        None => {
                            queue.convolve(&sizes, places, Ending::default())?;
                            if step.relu || step.other.is_some() {
                                values.finish(queue, &self.plan, at, [y, 0, 0, y])?;
                            }
                        }
                    }
                }
                StepWeights::Linear { weight, bias } => {
                    let bias = bias.as_ref().map_or(0, DeviceBuffer::address);
                    values.forward_linear(queue, &self.plan, at, [weight.address(), bias])?;
                }
                StepWeights::Affine { factor, offset } => {
                    values.forward_plain(queue, &self.plan, at, [factor.address(), offset.address()])?;
                }
                StepWeights::None => values.forward_plain(queue, &self.plan, at, [0, 0])?,
            }
        }
        values.forward_logits(queue, &self.plan)
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
                StepWeights::Affine { factor, .. } => {
                    gradients.plain(queue, at, &gradient, factor.address(), by_images)?
                }
                StepWeights::None => gradients.plain(queue, at, &gradient, 0, by_images)?,
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

/// Addresses of a batch norm's tensors; without them nothing is normalised.
#[derive(Debug, Default)]
struct Norm {
    scale: u64,
    shift: u64,
    mean: u64,
    variance: u64,
    epsilon: f64,
}

impl Norm {
    /// Factor, offset and offset as values, behind a layer with that bias; 0 for what is not there or not wanted.
    fn fold(&self, gpu: &Gpu, bias: u64, [factor, offset, packed]: [u64; 3], channels: usize) -> Result<()> {
        let count = channels.next_multiple_of(EIGHT);
        gpu.launch(
            "fold",
            Grid::of(count),
            &[
                Address(self.scale),
                Address(self.shift),
                Address(self.mean),
                Address(self.variance),
                Double(self.epsilon),
                Address(bias),
                Address(factor),
                Address(offset),
                Address(packed),
                Int(channels as i32),
                Long(count as i64),
            ],
        )
    }
}

/// Filters `[out, in, tap]` as padded values `[out, tap, in]`, each times its factor.
fn pack(gpu: &Gpu, weight: u64, factor: u64, out: u64, [outputs, inputs, taps]: [usize; 3]) -> Result<()> {
    let in_groups = inputs.div_ceil(EIGHT);
    let count = outputs.next_multiple_of(EIGHT) * taps * in_groups * EIGHT;
    gpu.launch(
        "pack",
        Grid::of(count),
        &[
            Address(weight),
            Address(factor),
            Address(out),
            Int(outputs as i32),
            Int(inputs as i32),
            Int(taps as i32),
            Int(in_groups as i32),
            Long(count as i64),
        ],
    )
}

/// Numbers on the GPU, zeros behind them up to `length`.
pub(super) fn constant(gpu: &Gpu, numbers: &[f32], length: usize) -> Result<DeviceBuffer> {
    let mut padded = numbers.to_vec();
    padded.resize(length.max(numbers.len()), 0.0);
    gpu.upload(&padded)
}

/// Where a tensor of a layer lies; 0 if it has none of that role.
fn named(tensors: &Weights, layer: &str, role: &str) -> Result<u64> {
    match tensors.get(&format!("{layer}.{role}")) {
        Some(tensor) => with_address(tensor, Ok),
        None => Ok(0),
    }
}
