//! Steps without weights, forward and back.

use std::sync::Arc;

use super::attention::AttentionStep;
use super::gpu::Argument::{self, Address, Float, Int, Long};
use super::gpu::{EIGHT, Gpu, Grid};
use super::gradients::Gradients;
use super::memory::DeviceBuffer;
use super::pass::{Values, eights, groups, window};
use super::queue::Queue;
use crate::Result;
use crate::engine::plan::{PlaceMap, Plan, Sizes, Smooth, StepKind};

/// What a step needs on the GPU besides values and weights; it stays as it is.
#[derive(Debug)]
pub(super) enum Constants {
    None,
    /// Of each channel, in f32.
    Affine {
        factor: DeviceBuffer,
        offset: DeviceBuffer,
    },
    /// There and back.
    Places(Box<[DeviceMap; 2]>),
}

/// A [`PlaceMap`] on the GPU.
#[derive(Debug)]
pub(super) struct DeviceMap {
    starts: DeviceBuffer,
    places: DeviceBuffer,
    shares: DeviceBuffer,
}

impl DeviceMap {
    fn new(gpu: &Gpu, map: &PlaceMap) -> Result<Self> {
        Ok(Self {
            starts: gpu.upload(&map.starts)?,
            places: gpu.upload(&map.places)?,
            shares: gpu.upload(&map.shares)?,
        })
    }

    /// From values `x` of sizes `from` to `y` of sizes `to`.
    fn apply(&self, queue: &Queue<'_>, batch: usize, [from, to]: [Sizes; 2], [x, y]: [u64; 2]) -> Result<()> {
        let count = eights(batch, to);
        queue.launch(
            "sum_places",
            Grid::of(count),
            &[
                Address(x),
                Address(self.starts.address()),
                Address(self.places.address()),
                Address(self.shares.address()),
                Address(y),
                Int(from.pixels() as i32),
                Int(to.pixels() as i32),
                Int(from.channels.min(to.channels) as i32),
                Int(groups(from) as i32),
                Int(groups(to) as i32),
                Long(count as i64),
            ],
        )
    }
}

impl Constants {
    /// Those of a step.
    pub fn new(gpu: &Gpu, plan: &Plan, at: usize) -> Result<Self> {
        Ok(match &plan.steps[at].kind {
            StepKind::Arrange { factor, offset } | StepKind::Affine { factor, offset } => {
                let channels = groups(plan.sizes[at + 1]) * EIGHT;
                Self::Affine { factor: padded(gpu, factor, channels)?, offset: padded(gpu, offset, channels)? }
            }
            StepKind::Places { there, back } => {
                Self::Places(Box::new([DeviceMap::new(gpu, there)?, DeviceMap::new(gpu, back)?]))
            }
            _ => Self::None,
        })
    }

    fn factor_and_offset(&self) -> [u64; 2] {
        match self {
            Self::Affine { factor, offset } => [factor.address(), offset.address()],
            _ => [0, 0],
        }
    }
}

/// Which of the smooth activations the kernels compute.
fn gaussian(smooth: Smooth) -> Argument {
    Int((smooth == Smooth::Gelu).into())
}

/// Numbers on the GPU, zeros behind them up to `length`.
fn padded(gpu: &Gpu, numbers: &[f32], length: usize) -> Result<DeviceBuffer> {
    let mut padded = numbers.to_vec();
    padded.resize(length.max(numbers.len()), 0.0);
    gpu.upload(&padded)
}

impl Values {
    /// Runs a step forward.
    pub fn forward_plain(&mut self, queue: &Queue<'_>, plan: &Plan, at: usize, constants: &Constants) -> Result<()> {
        let step = &plan.steps[at];
        let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
        let y = self.output(queue, plan, at)?;
        let (x, count) = (self.address(step.input), eights(self.batch, to));
        let [from_groups, to_groups] = [from, to].map(|sizes| Int(groups(sizes) as i32));
        let [factor, offset] = constants.factor_and_offset();
        match (&step.kind, constants) {
            (StepKind::Arrange { .. }, _) => queue.launch(
                "arrange",
                Grid::of(count),
                &[
                    Address(self.images.address()),
                    Address(factor),
                    Address(offset),
                    Address(y),
                    Int(to.pixels() as i32),
                    Int(to.channels as i32),
                    to_groups,
                    Long(count as i64),
                ],
            ),
            (StepKind::MaxPool(geometry), _) => {
                let winners = self.keep(queue, at, count * EIGHT)?;
                queue.launch(
                    "max_pool",
                    Grid::of(count),
                    &[
                        Address(x),
                        Address(y),
                        Address(winners),
                        window(geometry.kernel, geometry.stride, geometry.padding, [from, to]),
                        to_groups,
                        Long(count as i64),
                    ],
                )
            }
            (StepKind::GlobalAvgPool, _) => queue.launch(
                "global_mean",
                Grid::of(count),
                &[Address(x), Address(y), Int(from.pixels() as i32), to_groups, Long(count as i64)],
            ),
            (StepKind::Places { .. }, Constants::Places(maps)) => maps[0].apply(queue, self.batch, [from, to], [x, y]),
            (StepKind::Concat, _) => self.join(queue, plan, at, y),
            (StepKind::Smooth(smooth), _) => queue.launch(
                "smooth",
                Grid::of(count),
                &[Address(x), Address(y), gaussian(*smooth), Long(count as i64)],
            ),
            (StepKind::Attention(attention), _) => AttentionStep::new(attention, plan, at).forward(queue, self, y),
            (StepKind::Flatten, _) => queue.launch(
                "flatten",
                Grid::of(count * EIGHT),
                &[
                    Address(x),
                    Address(y),
                    Int(from.pixels() as i32),
                    Int(from.channels as i32),
                    from_groups,
                    to_groups,
                    Long((count * EIGHT) as i64),
                ],
            ),
            _ => self.finish(queue, plan, at, [x, factor, offset, y]),
        }
    }

    /// Puts the operands' channels one after the other.
    fn join(&self, queue: &Queue<'_>, plan: &Plan, at: usize, y: u64) -> Result<()> {
        let to = plan.sizes[at + 1];
        let mut offset = 0;
        for operand in plan.steps[at].operands() {
            let from = plan.sizes[operand];
            let is_last = offset + from.channels == to.channels;
            let width = if is_last { groups(to) * EIGHT - offset } else { from.channels };
            let count = self.batch * to.pixels() * width;
            queue.launch(
                "join",
                Grid::of(count),
                &[
                    Address(self.address(operand)),
                    Address(y),
                    Int(offset as i32),
                    Int(from.channels as i32),
                    Int(width as i32),
                    Int(groups(from) as i32),
                    Int(groups(to) as i32),
                    Long(count as i64),
                ],
            )?;
            offset += from.channels;
        }
        Ok(())
    }
}

impl Gradients<'_> {
    /// Takes a step's gradient to what it reads; `by_images` takes the gradient by the images, in f32.
    pub fn plain(
        &mut self,
        queue: &Queue<'_>,
        at: usize,
        gradient: &Arc<DeviceBuffer>,
        constants: &Constants,
        by_images: u64,
    ) -> Result<()> {
        let step = &self.plan.steps[at];
        let (from, to) = (self.plan.sizes[step.input], self.plan.sizes[at + 1]);
        let (batch, g) = (self.values.batch, gradient.address());
        let [factor, _] = constants.factor_and_offset();
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
        match &step.kind {
            StepKind::Concat => return self.divide(queue, at, g),
            StepKind::Attention(attention) => {
                return AttentionStep::new(attention, self.plan, at).backward(queue, self, g);
            }
            _ => {}
        }
        let count = eights(batch, from);
        let [from_groups, to_groups] = [from, to].map(|sizes| Int(groups(sizes) as i32));
        let pixels = Int(from.pixels() as i32);
        if factor == 0 && matches!(step.kind, StepKind::Pass) {
            self.add(step.input, gradient.clone());
            return Ok(());
        }
        let by_x = self.values.take(queue, from)?;
        let out = by_x.address();
        match (&step.kind, constants) {
            (StepKind::MaxPool(geometry), _) => {
                let winners = Address(self.values.kept(at));
                let window = window(geometry.kernel, geometry.stride, geometry.padding, [from, to]);
                queue.launch(
                    "max_pool_gradient",
                    Grid::of(count),
                    &[Address(g), winners, Address(out), window, from_groups, Long(count as i64)],
                )?;
            }
            (StepKind::GlobalAvgPool, _) => queue.launch(
                "global_mean_gradient",
                Grid::of(count),
                &[Address(g), Address(out), pixels, from_groups, Long(count as i64)],
            )?,
            (StepKind::Places { .. }, Constants::Places(maps)) => maps[1].apply(queue, batch, [to, from], [g, out])?,
            (StepKind::Smooth(smooth), _) => queue.launch(
                "smooth_gradient",
                Grid::of(count),
                &[
                    Address(self.values.address(step.input)),
                    Address(g),
                    Address(out),
                    gaussian(*smooth),
                    Long(count as i64),
                ],
            )?,
            (StepKind::Flatten, _) => queue.launch(
                "flatten_gradient",
                Grid::of(count * EIGHT),
                &[
                    Address(g),
                    Address(out),
                    pixels,
                    Int(from.channels as i32),
                    from_groups,
                    to_groups,
                    Long((count * EIGHT) as i64),
                ],
            )?,
            _ => {
                let nothing = Address(0);
                queue.launch(
                    "finish",
                    Grid::of(count),
                    &[
                        Address(g),
                        Address(factor),
                        nothing,
                        nothing,
                        Int(0),
                        Address(out),
                        from_groups,
                        Long(count as i64),
                    ],
                )?;
            }
        }
        self.add(step.input, by_x);
        Ok(())
    }

    /// Gives each operand of a concat its part.
    fn divide(&mut self, queue: &Queue<'_>, at: usize, gradient: u64) -> Result<()> {
        let (plan, to) = (self.plan, self.plan.sizes[at + 1]);
        let mut offset = 0;
        for operand in plan.steps[at].operands() {
            let from = plan.sizes[operand];
            if self.is_needed[operand] {
                let part = self.values.take(queue, from)?;
                let count = eights(self.values.batch, from) * EIGHT;
                queue.launch(
                    "part",
                    Grid::of(count),
                    &[
                        Address(gradient),
                        Address(part.address()),
                        Int(offset as i32),
                        Int(from.channels as i32),
                        Int(groups(to) as i32),
                        Int(groups(from) as i32),
                        Long(count as i64),
                    ],
                )?;
                self.add(operand, part);
            }
            offset += from.channels;
        }
        Ok(())
    }
}
