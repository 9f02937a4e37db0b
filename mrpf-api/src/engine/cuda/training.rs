//! A training pass on a GPU: batch norm by the batch, and the gradient by every weight that one is wanted of.

use candle_core::Tensor;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::convolution::Ending;
use super::frozen::constant;
use super::gpu::Argument::{Address, Double, Float, Int, Long};
use super::gpu::{EIGHT, Gpu, Grid, with_address};
use super::memory::DeviceBuffer;
use super::pass::{Gradients, Values, convolution_sizes, groups};
use super::queue::{Queue, Repeated};
use crate::Result;
use crate::engine::plan::{IMAGES, Plan, Sizes, StepKind};
use crate::network::{Declaration, LayerKind, Weights};

/// How many passes are kept ready: TRADES has two at a time, and an epoch's last batch is smaller.
const READY: usize = 4;

/// Threads of a block, for kernels that divide rows.
const BLOCK: usize = 256;

/// Passes of a network that can be done again.
#[derive(Debug, Default)]
pub(crate) struct TrainingHome(Mutex<Vec<TrainingPass>>);

/// Everything that a recorded pass depends on.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    batch: usize,
    /// Where each weight lies, by name.
    addresses: BTreeMap<String, u64>,
    wanted: Vec<String>,
    by_images: bool,
}

#[derive(Debug)]
struct TrainingPass {
    key: Key,
    gpu: Arc<Gpu>,
    plan: Arc<Plan>,
    declaration: Arc<Declaration>,
    values: Values,
    steps: Vec<OfStep>,
    /// Gradients by the weights that one is wanted of, one after the other in f32, and where each begins.
    by_weights: Option<DeviceBuffer>,
    starts: BTreeMap<String, usize>,
    by_logits: DeviceBuffer,
    by_images: DeviceBuffer,
    is_needed: Vec<bool>,
    forward: Repeated,
    backward: Repeated,
}

/// What a step keeps from the way forward for the way back, in f32 but for the filters.
#[derive(Debug)]
enum OfStep {
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

impl TrainingPass {
    fn new(key: Key, gpu: Arc<Gpu>, plan: Arc<Plan>, declaration: Arc<Declaration>, weights: &Weights) -> Result<Self> {
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

    fn forward(&mut self) -> Result<()> {
        let (gpu, mut work) = (self.gpu.clone(), std::mem::take(&mut self.forward));
        let done = work.run(&gpu, |queue| self.enqueue_forward(queue));
        self.forward = work;
        done
    }

    fn backward(&mut self) -> Result<()> {
        let (gpu, mut work) = (self.gpu.clone(), std::mem::take(&mut self.backward));
        let done = work.run(&gpu, |queue| self.enqueue_backward(queue));
        self.backward = work;
        done
    }

    /// Where a weight of a layer lies; 0 if it has none of that role.
    fn weight(&self, layer: &str, role: &str) -> u64 {
        self.key.addresses.get(&format!("{layer}.{role}")).copied().unwrap_or(0)
    }

    /// Where the gradient by a weight goes; 0 if none is wanted.
    fn by_weight(&self, layer: &str, role: &str) -> u64 {
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

    fn enqueue_backward(&self, queue: &mut Queue<'_>) -> Result<()> {
        let (plan, values) = (&self.plan, &self.values);
        let unscale = 1.0 / self.gpu.gradient_scale();
        let mut gradients = Gradients::new(queue, plan, values, &self.is_needed, self.by_logits.address())?;
        for (at, step) in plan.steps.iter().enumerate().rev() {
            if !self.is_needed[at + 1] {
                continue;
            }
            let Some(gradient) = gradients.of_step(queue, at)? else { continue };
            let layer = &self.declaration.layers[step.layer];
            let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
            let (x, g) = (values.address(step.input), gradient.address());
            match &self.steps[at] {
                OfStep::Convolution { filters, .. } => {
                    let Some(sizes) = convolution_sizes(values.batch, plan, at, &layer.kind) else { continue };
                    let by_weight = self.by_weight(&layer.name, "weight");
                    if by_weight != 0 {
                        let taps: usize = sizes.kernel.iter().product();
                        let packed = values
                            .memory
                            .take(&self.gpu.stream, sizes.outputs * taps * sizes.inputs * self.gpu.value_bytes())?;
                        queue.convolve_by_weight(&sizes, [x, g, packed.address()])?;
                        let count = to.channels * from.channels * taps;
                        queue.launch(
                            "unpack",
                            Grid::of(count),
                            &[
                                Address(packed.address()),
                                Address(by_weight),
                                Float(unscale),
                                Int(from.channels as i32),
                                Int(taps as i32),
                                Int(groups(from) as i32),
                                Long(count as i64),
                            ],
                        )?;
                    }
                    self.bias_gradient(queue, g, to, self.by_weight(&layer.name, "bias"))?;
                    if gradients.wants_input(at) {
                        let by_x = values.take(queue, from)?;
                        queue.convolve_by_input(&sizes, [g, filters.address(), by_x.address()])?;
                        gradients.add(step.input, by_x);
                    }
                }
                OfStep::Norm { mean, inverse, .. } => {
                    let by_x = self.norm_gradient(queue, at, [x, g], [mean, inverse], gradients.wants_input(at))?;
                    by_x.into_iter().for_each(|by_x| gradients.add(step.input, by_x));
                }
                OfStep::Constants { factor, .. } => {
                    if gradients.wants_input(at) {
                        gradients.plain(queue, at, &gradient, factor.address(), self.by_images.address())?;
                    }
                }
                OfStep::Nothing if matches!(step.kind, StepKind::Linear) => {
                    let by_weight = self.by_weight(&layer.name, "weight");
                    if by_weight != 0 {
                        let count = to.channels * from.channels;
                        queue.launch(
                            "linear_by_weight",
                            Grid::of(count),
                            &[
                                Address(g),
                                Address(x),
                                Address(by_weight),
                                Float(unscale),
                                Int(values.batch as i32),
                                Int(from.channels as i32),
                                Int(groups(from) as i32),
                                Int(groups(to) as i32),
                                Long(count as i64),
                            ],
                        )?;
                    }
                    self.bias_gradient(queue, g, to, self.by_weight(&layer.name, "bias"))?;
                    if gradients.wants_input(at) {
                        gradients.linear_by_input(queue, at, g, self.weight(&layer.name, "weight"))?;
                    }
                }
                OfStep::Nothing => {
                    if gradients.wants_input(at) {
                        gradients.plain(queue, at, &gradient, 0, 0)?;
                    }
                }
            }
            gradients.pass_on(at, gradient);
        }
        Ok(())
    }

    /// The sum of a gradient over all rows, for each channel.
    fn bias_gradient(&self, queue: &Queue<'_>, gradient: u64, sizes: Sizes, out: u64) -> Result<()> {
        if out == 0 {
            return Ok(());
        }
        let rows = Rows::of(self.values.batch, sizes);
        let partial = self.values.floats(queue, rows.partial())?;
        rows.gradient_sums(queue, [gradient, gradient, 0, partial.address()])?;
        queue.launch(
            "by_bias",
            Grid::of(sizes.channels),
            &[
                Address(partial.address()),
                Int(rows.blocks as i32),
                Float(1.0 / self.gpu.gradient_scale()),
                Address(out),
                Int(rows.groups as i32),
                Long(sizes.channels as i64),
            ],
        )
    }

    /// A batch norm's gradients by scale and shift, and by its input where that is wanted
    /// (Ioffe and Szegedy 2015, section 3).
    fn norm_gradient(
        &self,
        queue: &Queue<'_>,
        at: usize,
        [x, gradient]: [u64; 2],
        [mean, inverse]: [&DeviceBuffer; 2],
        wants_input: bool,
    ) -> Result<Option<Arc<DeviceBuffer>>> {
        let (layer, sizes) = (&self.declaration.layers[self.plan.steps[at].layer].name, self.plan.sizes[at + 1]);
        let rows = Rows::of(self.values.batch, sizes);
        let channels = rows.groups * EIGHT;
        let partial = self.values.floats(queue, rows.partial())?;
        rows.gradient_sums(queue, [x, gradient, mean.address(), partial.address()])?;
        let floats = || self.values.floats(queue, channels);
        let [a, b, c] = [floats()?, floats()?, floats()?];
        // Where a gradient is not wanted it is written all the same, to a place that nobody reads.
        let [scale_unread, shift_unread] = [floats()?, floats()?];
        let to = |role: &str, unread: &DeviceBuffer| match self.by_weight(layer, role) {
            0 => unread.address(),
            wanted => wanted,
        };
        queue.launch(
            "gradient_finish",
            Grid::of(channels),
            &[
                Address(partial.address()),
                Int(rows.blocks as i32),
                Double(rows.rows as f64),
                Address(self.weight(layer, "weight")),
                Address(mean.address()),
                Address(inverse.address()),
                Float(1.0 / self.gpu.gradient_scale()),
                Address(to("weight", &scale_unread)),
                Address(to("bias", &shift_unread)),
                Address(a.address()),
                Address(b.address()),
                Address(c.address()),
                Int(sizes.channels as i32),
                Int(rows.groups as i32),
                Long(channels as i64),
            ],
        )?;
        if !wants_input {
            return Ok(None);
        }
        let by_x = self.values.take(queue, sizes)?;
        let count = rows.rows * rows.groups;
        queue.launch(
            "combine",
            Grid::of(count),
            &[
                Address(x),
                Address(gradient),
                Address(a.address()),
                Address(b.address()),
                Address(c.address()),
                Address(by_x.address()),
                Int(rows.groups as i32),
                Long(count as i64),
            ],
        )?;
        Ok(Some(by_x))
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

/// How sums over rows are divided among blocks; by sizes alone, so that the order of additions is the same every time.
struct Rows {
    rows: usize,
    groups: usize,
    /// Eights of a row side by side in a block.
    width: usize,
    /// Rows of each block.
    of_block: usize,
    /// Blocks along the rows.
    blocks: usize,
}

impl Rows {
    fn of(batch: usize, sizes: Sizes) -> Self {
        let (rows, groups) = (batch * sizes.pixels(), groups(sizes));
        let width = groups.min(32);
        let lanes = BLOCK / width;
        let of_block = rows.div_ceil(256).max(4 * lanes);
        Self { rows, groups, width, of_block, blocks: rows.div_ceil(of_block) }
    }

    fn grid(&self) -> Grid {
        Grid { blocks: [self.blocks as u32, self.groups.div_ceil(self.width) as u32] }
    }

    /// Numbers in f32 that the blocks leave behind.
    fn partial(&self) -> usize {
        self.blocks * 2 * self.groups * EIGHT
    }

    fn gradient_sums(&self, queue: &Queue<'_>, [x, gradient, mean, partial]: [u64; 4]) -> Result<()> {
        queue.launch(
            "gradient_sums",
            self.grid(),
            &[
                Address(x),
                Address(gradient),
                Address(mean),
                Address(partial),
                Long(self.rows as i64),
                Int(self.of_block as i32),
                Int(self.width as i32),
                Int(self.groups as i32),
            ],
        )
    }
}
