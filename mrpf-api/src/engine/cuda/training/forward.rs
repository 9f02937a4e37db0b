//! What a pass holds, and its way forward.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Result;
use crate::engine::cuda::depthwise::Depthwise;
use crate::engine::cuda::filters::{Norm, pack, pack_depthwise};
use crate::engine::cuda::gpu::Argument::{Address, Double, Int, Long};
use crate::engine::cuda::gpu::{EIGHT, Gpu, Grid};
use crate::engine::cuda::layer_norm::LayerNormStep;
use crate::engine::cuda::memory::DeviceBuffer;
use crate::engine::cuda::pass::{Values, groups};
use crate::engine::cuda::plain::Constants;
use crate::engine::cuda::queue::{Queue, Repeated};
use crate::engine::cuda::rows::Rows;
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
    Plain(Constants),
    LayerNorm,
    Linear,
    Convolution {
        filters: DeviceBuffer,
        bias: Option<DeviceBuffer>,
    },
    /// Filters in f32; the bias is read where it lies.
    Depthwise {
        filters: DeviceBuffer,
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
            steps.push(match (&step.kind, declaration.layers[step.layer].kind.taps_and_bias()) {
                (StepKind::Convolution, Some((taps, bias))) => OfStep::Convolution {
                    filters: memory.take(&gpu.stream, channels * taps * groups(from) * EIGHT * gpu.value_bytes())?,
                    bias: if bias { Some(memory.take(&gpu.stream, channels * gpu.value_bytes())?) } else { None },
                },
                (StepKind::Depthwise, Some((taps, _))) => OfStep::Depthwise { filters: floats(taps * channels)? },
                (StepKind::LayerNorm, _) => OfStep::LayerNorm,
                (StepKind::Linear, _) => OfStep::Linear,
                (StepKind::BatchNorm, _) => OfStep::Norm {
                    mean: floats(channels)?,
                    variance: floats(channels)?,
                    inverse: floats(channels)?,
                    factor: floats(channels)?,
                    offset: floats(channels)?,
                },
                _ => OfStep::Plain(Constants::new(&gpu, &plan, at)?),
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
            is_needed.push(own || step.reads().any(|value| is_needed[value]));
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
                    let places = [self.weight(&layer.name, "weight"), 0, filters.address()];
                    let taps = layer.kind.taps_and_bias().map_or(1, |(taps, _)| taps);
                    pack(queue.launcher(), places, [to.channels, from.channels, taps])?;
                    if let Some(packed) = bias {
                        let given = self.weight(&layer.name, "bias");
                        Norm::default().fold(queue.launcher(), given, [0, 0, packed.address()], to.channels)?;
                    }
                    let bias = bias.as_ref().map_or(0, DeviceBuffer::address);
                    self.values.forward_convolution(queue, &plan, at, &layer.kind, [filters.address(), bias])?;
                }
                OfStep::Depthwise { filters } => {
                    let LayerKind::Conv2d(conv) = &layer.kind else { continue };
                    let taps = conv.geometry.kernel.iter().product();
                    let places = [self.weight(&layer.name, "weight"), 0, filters.address()];
                    pack_depthwise(queue.launcher(), places, [to.channels, taps])?;
                    let y = self.values.output(queue, &plan, at)?;
                    let places = [filters.address(), self.weight(&layer.name, "bias"), y];
                    Depthwise::new(&plan, at, self.values.batch, conv).forward(queue, &self.values, places)?;
                }
                OfStep::Norm { mean, variance, inverse, factor, offset } => {
                    let LayerKind::BatchNorm(norm) = &layer.kind else { continue };
                    let x = self.values.address(step.input);
                    let rows = Rows::of(self.values.batch, to);
                    let partial = self.values.floats(queue, rows.partial())?;
                    rows.sum(queue, "moments", &[x, partial.address()])?;
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
                OfStep::LayerNorm => {
                    let y = self.values.output(queue, &plan, at)?;
                    let places = [self.weight(&layer.name, "weight"), self.weight(&layer.name, "bias"), y];
                    let norm = LayerNormStep::new(&plan, at, self.values.batch, &layer.kind);
                    norm.forward(queue, &mut self.values, places)?;
                }
                OfStep::Linear => {
                    let places = [self.weight(&layer.name, "weight"), self.weight(&layer.name, "bias")];
                    self.values.forward_linear(queue, &plan, at, places)?;
                }
                OfStep::Plain(constants) => self.values.forward_plain(queue, &plan, at, constants)?,
            }
        }
        self.values.forward_logits(queue, &plan)
    }
}
