//! A pass over a plan on a GPU: where its values lie, and how a step ends.

use std::sync::Arc;

use super::convolution::{Ending, Sizes as ConvolutionSizes};
use super::gpu::Argument::{self, Address, Int, Long};
use super::gpu::{EIGHT, Grid};
use super::memory::{DeviceBuffer, DeviceMemory};
use super::queue::Queue;
use crate::Result;
use crate::engine::plan::{Activation, Plan, Sizes, StepKind, Value};
use crate::network::LayerKind;
use crate::numeric::ConvGeometry;

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
    let geometry = match kind {
        LayerKind::Conv2d(conv) => conv.geometry,
        LayerKind::Linear(_) => ConvGeometry::square(1),
        _ => return None,
    };
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
    Some(sizes.with_geometry(&geometry))
}

/// The windows of a pooling or a convolution as kernels know them.
pub(super) fn window(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], [from, to]: [Sizes; 2]) -> Argument {
    let all = [[from.height, from.width], [to.height, to.width], kernel, stride, padding];
    let mut sizes = [0; 10];
    sizes.iter_mut().zip(all.into_iter().flatten()).for_each(|(to, from)| *to = from as i32);
    Argument::Window(sizes)
}

/// An activation as kernels know it.
pub(super) fn activation(activation: Activation) -> Argument {
    Int(match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
    })
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
    /// What a step keeps for its way back besides: which tap won each window of a pooling, the moments of a layer norm.
    pub kept: Vec<Option<DeviceBuffer>>,
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
            kept: plan.steps.iter().map(|_| None).collect(),
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

    /// Room for what a step keeps for its way back.
    pub fn keep(&mut self, queue: &Queue<'_>, at: usize, bytes: usize) -> Result<u64> {
        if self.kept[at].is_none() {
            self.kept[at] = Some(self.memory.take(&queue.gpu.stream, bytes)?);
        }
        Ok(self.kept(at))
    }

    /// Where that lies.
    pub fn kept(&self, at: usize) -> u64 {
        self.kept[at].as_ref().map_or(0, DeviceBuffer::address)
    }

    /// Ends a step: `y = activation(x * factor + offset + other)`, whatever of it there is.
    pub fn finish(&self, queue: &Queue<'_>, plan: &Plan, at: usize, [x, factor, offset, y]: [u64; 4]) -> Result<()> {
        let other = plan.steps[at].other.map_or(0, |other| self.address(other));
        self.end(queue, plan, at, [x, factor, offset, other, y])
    }

    /// The activation alone, where everything else has been done.
    pub fn activate(&self, queue: &Queue<'_>, plan: &Plan, at: usize, y: u64) -> Result<()> {
        self.end(queue, plan, at, [y, 0, 0, 0, y])
    }

    fn end(&self, queue: &Queue<'_>, plan: &Plan, at: usize, places: [u64; 5]) -> Result<()> {
        let [x, factor, offset, other, y] = places;
        let (step, to) = (&plan.steps[at], plan.sizes[at + 1]);
        let count = eights(self.batch, to);
        queue.launch(
            "finish",
            Grid::of(count),
            &[
                Address(x),
                Address(factor),
                Address(offset),
                Address(other),
                activation(step.activation),
                Address(y),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )
    }

    /// A convolution by cuDNN and what ends the step, which goes into the same call as far as that knows it.
    ///
    /// `bias` are values, 0 for none.
    pub fn forward_convolution(
        &mut self,
        queue: &mut Queue<'_>,
        plan: &Plan,
        at: usize,
        kind: &LayerKind,
        [filters, bias]: [u64; 2],
    ) -> Result<()> {
        let step = &plan.steps[at];
        let Some(sizes) = convolution_sizes(self.batch, plan, at, kind) else { return Ok(()) };
        let y = self.output(queue, plan, at)?;
        let places = [self.address(step.input), filters, y];
        if bias == 0 {
            queue.convolve(&sizes, places, Ending::default())?;
            let is_done = step.activation == Activation::None && step.other.is_none();
            return if is_done { Ok(()) } else { self.finish(queue, plan, at, [y, 0, 0, y]) };
        }
        let other = step.other.map_or(0, |other| self.address(other));
        queue.convolve(&sizes, places, Ending { bias, other, relu: step.activation == Activation::Relu })?;
        match step.activation {
            Activation::None | Activation::Relu => Ok(()),
            Activation::Relu6 => self.activate(queue, plan, at, y),
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
