//! What a pass holds, and its way forward.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::Rows;
use crate::Result;
use crate::engine::cuda::convolution::Ending;
use crate::engine::cuda::frozen::constant;
use crate::engine::cuda::gpu::Argument::{Address, Double, Int, Long};
use crate::engine::cuda::gpu::{EIGHT, Gpu, Grid};
use crate::engine::cuda::memory::DeviceBuffer;
use crate::engine::cuda::pass::{Values, convolution_sizes, groups};
use crate::engine::cuda::queue::{Queue, Repeated};
use crate::engine::plan::{IMAGES, Plan, StepKind};
use crate::network::{Declaration, LayerKind, Weights};

/// Everything that a recorded pass depends on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub batch: usize,
    /// Where each weight lies, by name.
    pub addresses: BTreeMap<String, u64>,
    pub wanted: Vec<String>,
    pub by_images: bool,
}

#[derive(Debug)]
pub(super) struct TrainingPass {
    pub key: Key,
    pub gpu: Arc<Gpu>,
    pub plan: Arc<Plan>,
    pub declaration: Arc<Declaration>,
    pub values: Values,
    pub steps: Vec<OfStep>,
    /// Gradients by the weights that one is wanted of, one after the other in f32, and where each begins.
    pub by_weights: Option<DeviceBuffer>,
    pub starts: BTreeMap<String, usize>,
    pub by_logits: DeviceBuffer,
    pub by_images: DeviceBuffer,
    pub is_needed: Vec<bool>,
    forward: Repeated,
    backward: Repeated,
}

/// What a step keeps from the way forward for the way back, in f32 but for the filters.
#[derive(Debug)]
pub(super) enum OfStep {
    Nothing,
    Constants {
        factor: DeviceBuffer,
        offset: DeviceBuffer,
    },
    Convolution {
        filters: DeviceBuffer,
        bias: Option<DeviceBuffer>,
    },
    Norm {
        mean: DeviceBuffer,
        variance: DeviceBuffer,
        inverse: DeviceBuffer,
        factor: DeviceBuffer,
        offset: DeviceBuffer,
    },
}

impl TrainingPass {
    pub fn new(
        key: Key,
        gpu: Arc<Gpu>,
        plan: Arc<Plan>,
        declaration: Arc<Declaration>,
        weights: &Weights,
    ) -> Result<Self> {
        let values = Values::new(&gpu, &plan, key.batch)?;
        let memory = values.memory.clone();
        let floats = |count: usize| memory.take(&gpu.stream, count * size_of::<f32>());
        let mut steps = Vec::with_capacity(plan.steps.len());
        for (at, step) in plan.steps.iter().enumerate() {
            let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
            let channels = groups(to) * EIGHT;
            steps.push(match (&step.kind, &declaration.layers[step.layer].kind) {
                (StepKind::Arrange { factor, offset } | StepKind::Affine { factor, offset }, _) => OfStep::Constants {
                    factor: constant(&gpu, factor, channels)?,
                    offset: constant(&gpu, offset, channels)?,
                },
                (StepKind::Convolution, LayerKind::Conv2d(conv)) => {
                    let count = channels * conv.geometry.kernel.iter().product::<usize>() * groups(from) * EIGHT;
                    let bytes = gpu.value_bytes();
                    OfStep::Convolution {
                        filters: memory.take(&gpu.stream, count * bytes)?,
                        bias: if conv.bias { Some(memory.take(&gpu.stream, channels * bytes)?) } else { None },
                    }
                }
                (StepKind::BatchNorm, _) => OfStep::Norm {
                    mean: floats(channels)?,
                    variance: floats(channels)?,
                    inverse: floats(channels)?,
                    factor: floats(channels)?,
                    offset: floats(channels)?,
                },
                _ => OfStep::Nothing,
            });
        }
        let mut starts = BTreeMap::new();
        let mut total = 0;
        for name in &key.wanted {
            starts.insert(name.clone(), total);
            total += weights[name].elem_count();
        }
        let mut is_needed = vec![key.by_images];
        for step in &plan.steps {
            let name = &declaration.layers[step.layer].name;
            let own = step.has_weights()
                && ["weight", "bias"].iter().any(|role| starts.contains_key(&format!("{name}.{role}")));
            is_needed.push(own || is_needed[step.input] || step.other.is_some_and(|other| is_needed[other]));
        }
        Ok(Self {
            by_weights: if total > 0 { Some(floats(total)?) } else { None },
            by_logits: floats(key.batch * plan.classes())?,
            by_images: floats(key.batch * plan.sizes[IMAGES].len())?,
            starts,
            is_needed,
            key,
            gpu,
            plan,
            declaration,
            values,
            steps,
            forward: Repeated::New,
            backward: Repeated::New,
        })
    }

    pub fn forward(&mut self) -> Result<()> {
        let (gpu, mut work) = (self.gpu.clone(), std::mem::take(&mut self.forward));
        let done = work.run(&gpu, |queue| self.enqueue_forward(queue));
        self.forward = work;
        done
    }

    pub fn backward(&mut self) -> Result<()> {
        let (gpu, mut work) = (self.gpu.clone(), std::mem::take(&mut self.backward));
        let done = work.run(&gpu, |queue| self.enqueue_backward(queue));
        self.backward = work;
        done
    }

    /// Where a weight of a layer lies; 0 if it has none of that role.
    pub fn weight(&self, layer: &str, role: &str) -> u64 {
        self.key.addresses.get(&format!("{layer}.{role}")).copied().unwrap_or(0)
    }

    /// Where the gradient by a weight goes; 0 if none is wanted.
    pub fn by_weight(&self, layer: &str, role: &str) -> u64 {
        let all = self.by_weights.as_ref().map_or(0, DeviceBuffer::address);
        self.starts.get(&format!("{layer}.{role}")).map_or(0, |start| all + (start * size_of::<f32>()) as u64)
    }

    fn enqueue_forward(&mut self, queue: &mut Queue<'_>) -> Result<()> {
        let (plan, declaration) = (self.plan.clone(), self.declaration.clone());
        for (at, step) in plan.steps.iter().enumerate() {
            let layer = &declaration.layers[step.layer];
            let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
            match &self.steps[at] {
                OfStep::Convolution { filters, bias } => {
                    let Some(sizes) = convolution_sizes(self.values.batch, &plan, at, &layer.kind) else { continue };
                    let taps: usize = sizes.kernel.iter().product();
                    let count = sizes.outputs * taps * sizes.inputs;
                    queue.launch(
                        "pack",
                        Grid::of(count),
                        &[
                            Address(self.weight(&layer.name, "weight")),
                            Address(0),
                            Address(filters.address()),
                            Int(to.channels as i32),
                            Int(from.channels as i32),
                            Int(taps as i32),
                            Int(groups(from) as i32),
                            Long(count as i64),
                        ],
                    )?;
                    let y = self.values.output(queue, &plan, at)?;
                    let other = step.other.map_or(0, |other| self.values.address(other));
                    let places = [self.values.address(step.input), filters.address(), y];
                    match bias {
                        Some(packed) => {
                            let given = self.weight(&layer.name, "bias");
                            bias_as_values(queue, given, packed.address(), to.channels)?;
                            queue.convolve(
                                &sizes,
                                places,
                                Ending { bias: packed.address(), other, relu: step.relu },
                            )?;
                        }
                        None => {
                            queue.convolve(&sizes, places, Ending::default())?;
                            if step.relu || step.other.is_some() {
                                self.values.finish(queue, &plan, at, [y, 0, 0, y])?;
                            }
                        }
                    }
                }
                OfStep::Norm { mean, variance, inverse, factor, offset } => {
                    let LayerKind::BatchNorm(norm) = &layer.kind else { continue };
                    let x = self.values.address(step.input);
                    let rows = Rows::of(self.values.batch, to);
                    let partial = self.values.floats(queue, rows.partial())?;
                    queue.launch(
                        "moments",
                        rows.grid(),
                        &[
                            Address(x),
                            Address(partial.address()),
                            Long(rows.rows as i64),
                            Int(rows.of_block as i32),
                            Int(rows.width as i32),
                            Int(rows.groups as i32),
                        ],
                    )?;
                    queue.launch(
                        "moments_finish",
                        Grid::of(rows.groups * EIGHT),
                        &[
                            Address(partial.address()),
                            Address(x),
                            Int(rows.blocks as i32),
                            Double(rows.rows as f64),
                            Double(norm.epsilon),
                            Address(self.weight(&layer.name, "weight")),
                            Address(self.weight(&layer.name, "bias")),
                            Address(mean.address()),
                            Address(variance.address()),
                            Address(inverse.address()),
                            Address(factor.address()),
                            Address(offset.address()),
                            Int(to.channels as i32),
                            Int(rows.groups as i32),
                            Long((rows.groups * EIGHT) as i64),
                        ],
                    )?;
                    let places = [x, factor.address(), offset.address()];
                    let y = self.values.output(queue, &plan, at)?;
                    self.values.finish(queue, &plan, at, [places[0], places[1], places[2], y])?;
                }
                OfStep::Constants { factor, offset } => {
                    self.values.forward_plain(queue, &plan, at, [factor.address(), offset.address()])?;
                }
                OfStep::Nothing => match step.kind {
                    StepKind::Linear => {
                        let places = [self.weight(&layer.name, "weight"), self.weight(&layer.name, "bias")];
                        self.values.forward_linear(queue, &plan, at, places)?;
                    }
                    _ => self.values.forward_plain(queue, &plan, at, [0, 0])?,
                },
            }
        }
        self.values.forward_logits(queue, &plan)
    }
}

/// A bias in f32 as padded values.
fn bias_as_values(queue: &Queue<'_>, bias: u64, packed: u64, channels: usize) -> Result<()> {
    let count = channels.next_multiple_of(EIGHT);
    let nothing = Address(0);
    queue.launch(
        "fold",
        Grid::of(count),
        &[
            nothing,
            nothing,
            nothing,
            nothing,
            Double(0.0),
            Address(bias),
            nothing,
            nothing,
            Address(packed),
            Int(channels as i32),
            Long(count as i64),
        ],
    )
}
