//! The way back of a training pass.

use std::sync::Arc;

use super::forward::{OfStep, TrainingPass};
use crate::Result;
use crate::engine::cuda::depthwise::Depthwise;
use crate::engine::cuda::gpu::Argument::{Address, Double, Float, Int, Long};
use crate::engine::cuda::gpu::{EIGHT, Grid};
use crate::engine::cuda::gradients::Gradients;
use crate::engine::cuda::layer_norm::LayerNormStep;
use crate::engine::cuda::memory::DeviceBuffer;
use crate::engine::cuda::pass::{convolution_sizes, groups};
use crate::engine::cuda::queue::Queue;
use crate::engine::cuda::rows::Rows;
use crate::engine::plan::Sizes;
use crate::network::LayerKind;

impl TrainingPass {
    pub fn enqueue_backward(&self, queue: &mut Queue<'_>) -> Result<()> {
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
                    if gradients.wants_operands(at) {
                        let by_x = values.take(queue, from)?;
                        queue.convolve_by_input(&sizes, [g, filters.address(), by_x.address()])?;
                        gradients.add(step.input, by_x);
                    }
                }
                OfStep::Norm { mean, inverse, .. } => {
                    let by_x = self.norm_gradient(queue, at, [x, g], [mean, inverse], gradients.wants_operands(at))?;
                    by_x.into_iter().for_each(|by_x| gradients.add(step.input, by_x));
                }
                OfStep::Depthwise { filters } => {
                    let LayerKind::Conv2d(conv) = &layer.kind else { continue };
                    let convolution = Depthwise::new(plan, at, values.batch, conv);
                    let by_weight = self.by_weight(&layer.name, "weight");
                    if by_weight != 0 {
                        convolution.by_weight(queue, values, [x, g, by_weight])?;
                    }
                    self.bias_gradient(queue, g, to, self.by_weight(&layer.name, "bias"))?;
                    if gradients.wants_operands(at) {
                        let by_x = values.take(queue, from)?;
                        convolution.by_input(queue, [g, filters.address(), by_x.address()])?;
                        gradients.add(step.input, by_x);
                    }
                }
                OfStep::LayerNorm => {
                    let norm = LayerNormStep::new(plan, at, values.batch, &layer.kind);
                    let wanted = ["weight", "bias"].map(|role| self.by_weight(&layer.name, role));
                    norm.by_weights(queue, values, [g, wanted[0], wanted[1]])?;
                    if gradients.wants_operands(at) {
                        let by_x = values.take(queue, from)?;
                        let scale = self.weight(&layer.name, "weight");
                        norm.by_input(queue, values, [g, scale, by_x.address()])?;
                        gradients.add(step.input, by_x);
                    }
                }
                OfStep::Linear => {
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
                    if gradients.wants_operands(at) {
                        gradients.linear_by_input(queue, at, g, self.weight(&layer.name, "weight"))?;
                    }
                }
                OfStep::Plain(constants) => {
                    if gradients.wants_operands(at) {
                        gradients.plain(queue, at, &gradient, constants, self.by_images.address())?;
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
        rows.sum(queue, "gradient_sums", &[gradient, gradient, 0, partial.address()])?;
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
        rows.sum(queue, "gradient_sums", &[x, gradient, mean.address(), partial.address()])?;
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
