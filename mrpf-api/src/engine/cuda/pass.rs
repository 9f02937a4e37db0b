//! What passes forward and back over a plan share on a GPU: where values lie, and the steps without weights.

use std::sync::Arc;

use super::convolution::Sizes as ConvolutionSizes;
use super::gpu::Argument::{Address, Float, Int, Long, Window};
use super::gpu::{EIGHT, Grid};
use super::memory::{DeviceBuffer, DeviceMemory};
use super::queue::Queue;
use crate::Result;
use crate::engine::plan::{Plan, Sizes, Step, StepKind, Value};
use crate::network::LayerKind;
use crate::numeric::PoolGeometry;

/// Channels with their padding, in eights.
pub(super) fn groups(sizes: Sizes) -> usize {
    sizes.channels.div_ceil(EIGHT)
}

/// Eights of a value in so many images.
pub(super) fn eights(batch: usize, sizes: Sizes) -> usize {
    batch * sizes.pixels() * groups(sizes)
}

/// A step's sizes as a convolution's.
pub(super) fn convolution_sizes(batch: usize, plan: &Plan, at: usize, kind: &LayerKind) -> Option<ConvolutionSizes> {
    let LayerKind::Conv2d(conv) = kind else { return None };
    let (from, to) = (plan.sizes[plan.steps[at].input], plan.sizes[at + 1]);
    let sizes = ConvolutionSizes {
        batch,
        inputs: groups(from) * EIGHT,
        outputs: groups(to) * EIGHT,
        size: [from.height, from.width],
        out_size: [to.height, to.width],
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
    };
    Some(sizes.with_geometry(&conv.geometry))
}

fn window(geometry: &PoolGeometry, from: Sizes, to: Sizes) -> [i32; 10] {
    let PoolGeometry { kernel, stride, padding } = *geometry;
    let all = [[from.height, from.width], [to.height, to.width], kernel, stride, padding];
    let mut sizes = [0; 10];
    sizes.iter_mut().zip(all.into_iter().flatten()).for_each(|(to, from)| *to = from as i32);
    sizes
}

/// The values of one pass and what its way back needs besides. Their places stay the same once they are taken.
#[derive(Debug)]
pub(super) struct Values {
    pub batch: usize,
    pub memory: Arc<DeviceMemory>,
    /// In f32, `[batch, channel, height, width]`.
    pub images: DeviceBuffer,
    /// In f32, `[batch, class]`.
    pub logits: DeviceBuffer,
    pub of: Vec<Option<Arc<DeviceBuffer>>>,
    /// The tap that won each window of a pooling.
    pub winners: Vec<Option<DeviceBuffer>>,
}

impl Values {
    /// Places for images and logits.
    pub fn new(queue: &super::gpu::Gpu, plan: &Plan, batch: usize) -> Result<Self> {
        let memory = Arc::new(DeviceMemory::of_pass());
        let floats = |count: usize| memory.take(&queue.stream, count * size_of::<f32>());
        Ok(Self {
            batch,
            images: floats(batch * plan.sizes[0].len())?,
            logits: floats(batch * plan.classes())?,
            of: plan.sizes.iter().map(|_| None).collect(),
            winners: plan.steps.iter().map(|_| None).collect(),
            memory,
        })
    }

    /// Memory for values, which is used again within the pass.
    pub fn take(&self, queue: &Queue<'_>, sizes: Sizes) -> Result<Arc<DeviceBuffer>> {
        let bytes = eights(self.batch, sizes) * EIGHT * queue.gpu.value_bytes();
        Ok(Arc::new(self.memory.take(&queue.gpu.stream, bytes)?))
    }

    /// Memory for numbers in f32.
    pub fn floats(&self, queue: &Queue<'_>, count: usize) -> Result<DeviceBuffer> {
        self.memory.take(&queue.gpu.stream, count * size_of::<f32>())
    }

    /// Where a value lies; 0 if it is not there.
    pub fn address(&self, value: Value) -> u64 {
        self.of[value].as_ref().map_or(0, |buffer| buffer.address())
    }

    /// The place that a step writes its value to.
    pub fn output(&mut self, queue: &Queue<'_>, plan: &Plan, at: usize) -> Result<u64> {
        if self.of[at + 1].is_none() {
            self.of[at + 1] = Some(self.take(queue, plan.sizes[at + 1])?);
        }
        Ok(self.address(at + 1))
    }

    /// Ends a step: `y = relu(x * factor + offset + other)`, whatever of it there is.
    pub fn finish(&self, queue: &Queue<'_>, plan: &Plan, at: usize, [x, factor, offset, y]: [u64; 4]) -> Result<()> {
        let (step, to) = (&plan.steps[at], plan.sizes[at + 1]);
        let other = step.other.map_or(0, |other| self.address(other));
        let count = eights(self.batch, to);
        queue.launch(
            "finish",
            Grid::of(count),
            &[
                Address(x),
                Address(factor),
                Address(offset),
                Address(other),
                Int(step.relu.into()),
                Address(y),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )
    }

    /// Steps without weights, forward. `constants` are factor and offset where the step has such.
    pub fn forward_plain(&mut self, queue: &Queue<'_>, plan: &Plan, at: usize, constants: [u64; 2]) -> Result<()> {
        let step = &plan.steps[at];
        let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
        let y = self.output(queue, plan, at)?;
        let (x, count) = (self.address(step.input), eights(self.batch, to));
        let to_groups = Int(groups(to) as i32);
        match &step.kind {
            StepKind::Arrange { .. } => queue.launch(
                "arrange",
                Grid::of(count),
                &[
                    Address(self.images.address()),
                    Address(constants[0]),
                    Address(constants[1]),
                    Address(y),
                    Int(to.pixels() as i32),
                    Int(to.channels as i32),
                    to_groups,
                    Long(count as i64),
                ],
            ),
            StepKind::MaxPool(geometry) => {
                if self.winners[at].is_none() {
                    self.winners[at] = Some(self.memory.take(&queue.gpu.stream, count * EIGHT)?);
                }
                let winners = self.winners[at].as_ref().map_or(0, DeviceBuffer::address);
                queue.launch(
                    "max_pool",
                    Grid::of(count),
                    &[
                        Address(x),
                        Address(y),
                        Address(winners),
                        Window(window(geometry, from, to)),
                        to_groups,
                        Long(count as i64),
                    ],
                )
            }
            StepKind::GlobalAvgPool => queue.launch(
                "global_mean",
                Grid::of(count),
                &[Address(x), Address(y), Int(from.pixels() as i32), to_groups, Long(count as i64)],
            ),
            _ => self.finish(queue, plan, at, [x, constants[0], constants[1], y]),
        }
    }

    /// The linear layer of a step, forward; the network's last one gives the logits in f32.
    pub fn forward_linear(
        &mut self,
        queue: &Queue<'_>,
        plan: &Plan,
        at: usize,
        [weight, bias]: [u64; 2],
    ) -> Result<()> {
        let step = &plan.steps[at];
        let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
        let is_last = at + 1 == plan.output();
        let y = if is_last { 0 } else { self.output(queue, plan, at)? };
        let exact = if is_last { self.logits.address() } else { 0 };
        let width = if is_last { to.channels } else { groups(to) * EIGHT };
        queue.launch(
            "linear",
            Grid::of_warps(self.batch * width),
            &[
                Address(self.address(step.input)),
                Address(weight),
                Address(bias),
                Address(exact),
                Address(y),
                Int(0),
                Int(from.channels as i32),
                Int(groups(from) as i32),
                Int(to.channels as i32),
                Int(groups(to) as i32),
                Long((self.batch * width) as i64),
            ],
        )
    }

    /// The logits of a network that does not end with a linear layer.
    pub fn forward_logits(&self, queue: &Queue<'_>, plan: &Plan) -> Result<()> {
        if plan.steps.last().is_some_and(|step| matches!(step.kind, StepKind::Linear)) {
            return Ok(());
        }
        let (to, count) = (plan.sizes[plan.output()], self.batch * plan.classes());
        queue.launch(
            "logits",
            Grid::of(count),
            &[
                Address(self.address(plan.output())),
                Address(self.logits.address()),
                Int(to.channels as i32),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )
    }
}

/// The way back: what has come of the gradients by values that are not done with yet.
pub(super) struct Gradients<'a> {
    pub plan: &'a Plan,
    pub values: &'a Values,
    /// Which values' gradients are wanted at all.
    pub is_needed: &'a [bool],
    of: Vec<Vec<Arc<DeviceBuffer>>>,
}

impl<'a> Gradients<'a> {
    /// Begins with the gradient by the logits, `[batch, class]` in f32.
    pub fn new(
        queue: &Queue<'_>,
        plan: &'a Plan,
        values: &'a Values,
        is_needed: &'a [bool],
        by_logits: u64,
    ) -> Result<Self> {
        let to = plan.sizes[plan.output()];
        let start = values.take(queue, to)?;
        let count = eights(values.batch, to) * EIGHT;
        queue.launch(
            "by_logits",
            Grid::of(count),
            &[
                Address(by_logits),
                Address(start.address()),
                Float(queue.gpu.gradient_scale()),
                Int(to.channels as i32),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )?;
        let mut of: Vec<Vec<_>> = plan.sizes.iter().map(|_| Vec::new()).collect();
        of[plan.output()].push(start);
        Ok(Self { plan, values, is_needed, of })
    }

    /// The complete gradient by what a step computed before its ReLU; none if nothing came to it.
    pub fn of_step(&mut self, queue: &Queue<'_>, at: usize) -> Result<Option<Arc<DeviceBuffer>>> {
        let mut came = std::mem::take(&mut self.of[at + 1]).into_iter();
        let Some(mut sum) = came.next() else { return Ok(None) };
        let to = self.plan.sizes[at + 1];
        let count = eights(self.values.batch, to);
        let mut y = if self.plan.steps[at].relu { self.values.address(at + 1) } else { 0 };
        let mut next = came.next();
        while next.is_some() || y != 0 {
            let out = if Arc::strong_count(&sum) == 1 { sum.clone() } else { self.values.take(queue, to)? };
            let after = came.next();
            // The ReLU stops what the whole sum does not get through.
            let stop = if after.is_none() { std::mem::take(&mut y) } else { 0 };
            let other = next.as_ref().map_or(0, |other| other.address());
            queue.launch(
                "relu_gradient",
                Grid::of(count),
                &[Address(sum.address()), Address(other), Address(stop), Address(out.address()), Long(count as i64)],
            )?;
            (sum, next) = (out, after);
        }
        Ok(Some(sum))
    }

    /// Whether the gradient by a step's input is wanted.
    pub fn wants_input(&self, at: usize) -> bool {
        self.is_needed[self.plan.steps[at].input]
    }

    /// Takes up a gradient by a value.
    pub fn add(&mut self, value: Value, gradient: Arc<DeviceBuffer>) {
        self.of[value].push(gradient);
    }

    /// Gives a step's gradient to the value that was added before its ReLU.
    pub fn pass_on(&mut self, at: usize, gradient: Arc<DeviceBuffer>) {
        if let Some(other) = self.plan.steps[at].other.filter(|other| self.is_needed[*other]) {
            self.add(other, gradient);
        }
    }

    /// A linear layer's gradient by its input.
    pub fn linear_by_input(&mut self, queue: &Queue<'_>, at: usize, gradient: u64, weight: u64) -> Result<()> {
        let step = &self.plan.steps[at];
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let (by_x, count) = (self.values.take(queue, from)?, eights(self.values.batch, from) * EIGHT);
        queue.launch(
            "linear_by_input",
            Grid::of(count),
            &[
                Address(gradient),
                Address(weight),
                Address(by_x.address()),
                Int(from.channels as i32),
                Int(groups(from) as i32),
                Int(to.channels as i32),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )?;
        self.add(step.input, by_x);
        Ok(())
    }

    /// Steps without weights. `factor` is that of an affine step; `by_images` takes the gradient by the images, in f32.
    pub fn plain(
        &mut self,
        queue: &Queue<'_>,
        at: usize,
        gradient: &Arc<DeviceBuffer>,
        factor: u64,
        by_images: u64,
    ) -> Result<()> {
        let step: &Step = &self.plan.steps[at];
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let (batch, g) = (self.values.batch, gradient.address());
        if let StepKind::Arrange { .. } = step.kind {
            let count = batch * from.len();
            return queue.launch(
                "arrange_gradient",
                Grid::of(count),
                &[
                    Address(g),
                    Address(factor),
                    Float(1.0 / queue.gpu.gradient_scale()),
                    Address(by_images),
                    Int(from.pixels() as i32),
                    Int(from.channels as i32),
                    Int(groups(to) as i32),
                    Long(count as i64),
                ],
            );
        }
        let count = eights(batch, from);
        let from_groups = Int(groups(from) as i32);
        let by_x = match &step.kind {
            StepKind::MaxPool(geometry) => {
                let by_x = self.values.take(queue, from)?;
                let winners = self.values.winners[at].as_ref().map_or(0, DeviceBuffer::address);
                queue.launch(
                    "max_pool_gradient",
                    Grid::of(count),
                    &[
                        Address(g),
                        Address(winners),
                        Address(by_x.address()),
                        Window(window(geometry, from, to)),
                        from_groups,
                        Long(count as i64),
                    ],
                )?;
                by_x
            }
            StepKind::GlobalAvgPool => {
                let by_x = self.values.take(queue, from)?;
                let pixels = Int(from.pixels() as i32);
                queue.launch(
                    "global_mean_gradient",
                    Grid::of(count),
                    &[Address(g), Address(by_x.address()), pixels, from_groups, Long(count as i64)],
                )?;
                by_x
            }
            _ if factor != 0 => {
                let by_x = self.values.take(queue, from)?;
                queue.launch(
                    "finish",
                    Grid::of(count),
                    &[
                        Address(g),
                        Address(factor),
                        Address(0),
                        Address(0),
                        Int(0),
                        Address(by_x.address()),
                        from_groups,
                        Long(count as i64),
                    ],
                )?;
                by_x
            }
            _ => gradient.clone(),
        };
        self.add(step.input, by_x);
        Ok(())
    }
}
