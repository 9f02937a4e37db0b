//! The engine's convolution as an operation on Candle's graph, on maps `[channel, height, width]`, with its own gradients.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Tensor};
use std::sync::Arc;

use super::convolution::{Convolution, Shape};
use super::finish::Finish;
use super::memory::{Buffer, Memory};
use super::weight_gradient::{bias_gradient, weight_gradient};
use super::{elementwise, plan::Sizes};
use crate::numeric::ConvGeometry;
use crate::numeric::kernel::read;

/// Convolution in f32 on the CPU with one group; arguments as in [`crate::numeric::conv2d`], which has checked them.
pub(crate) fn conv2d(
    images: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &ConvGeometry,
) -> candle_core::Result<Tensor> {
    let (batch, inputs, height, width) = images.dims4()?;
    let outputs = weight.dim(0)?;
    let out = |axis: usize, size: usize| {
        (size + 2 * geometry.padding[axis] - geometry.kernel[axis]) / geometry.stride[axis] + 1
    };
    let (size, out_size) = ([height, width], [out(0, height), out(1, width)]);
    let shape = Shape { inputs, outputs, geometry: *geometry, size, out_size };
    let operation = Maps { shape, batch, memory: Memory::of_operations() };
    match bias {
        None => images.apply_op2(weight, operation),
        Some(bias) => images.apply_op3(weight, bias, operation),
    }
}

struct Maps {
    shape: Shape,
    batch: usize,
    memory: Arc<Memory>,
}

impl Maps {
    /// Values per image of the input and the output.
    fn sizes(&self) -> [Sizes; 2] {
        let Shape { inputs, outputs, size, out_size, .. } = self.shape;
        [(inputs, size), (outputs, out_size)].map(|(channels, [height, width])| Sizes { height, width, channels })
    }

    /// Maps with their channels last.
    fn channels_last(&self, maps: &[f32], sizes: Sizes) -> Buffer {
        let mut out = self.memory.take(maps.len());
        elementwise::channels_last(maps, sizes, &mut out);
        out
    }

    fn forward(&self, images: &[f32], weight: &[f32], bias: Option<&[f32]>) -> (CpuStorage, candle_core::Shape) {
        let [from, to] = self.sizes();
        let x = self.channels_last(images, from);
        let mut out = self.memory.take(self.batch * to.len());
        Convolution::forward(&self.memory, &self.shape, weight).run(&x, &mut out, Finish { bias, ..Finish::default() });
        let mut maps = vec![0.0; out.len()];
        elementwise::channels_first(&out, to, &mut maps);
        (CpuStorage::F32(maps), (self.batch, to.channels, to.height, to.width).into())
    }

    /// Gradients by images, weight and bias, each only where it is asked for.
    fn gradients(
        &self,
        images: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        gradient: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let [from, to] = self.sizes();
        let gradient = read(gradient, |gradient| Ok(self.channels_last(gradient, to)))?;
        let by_images = images.track_op().then(|| {
            let mut by_x = self.memory.take(self.batch * from.len());
            let backward = |weight: &[f32]| Ok(Convolution::backward(&self.memory, &self.shape, weight));
            read(weight, backward)?.run(&gradient, &mut by_x, Finish::default());
            let mut maps = vec![0.0; by_x.len()];
            elementwise::channels_first(&by_x, from, &mut maps);
            Tensor::from_vec(maps, images.shape(), &Device::Cpu)
        });
        let by_weight = weight.track_op().then(|| {
            #[cfg(test)]
            crate::numeric::kernel::count_weight_gradient();
            let x = read(images, |images| Ok(self.channels_last(images, from)))?;
            let by_weight = weight_gradient(&self.memory, &self.shape, &x, &gradient);
            Tensor::from_vec(by_weight, weight.shape(), &Device::Cpu)
        });
        let by_bias = bias
            .filter(|bias| bias.track_op())
            .map(|bias| Tensor::from_vec(bias_gradient(&gradient, self.shape.outputs), bias.shape(), &Device::Cpu));
        Ok([by_images.transpose()?, by_weight.transpose()?, by_bias.transpose()?])
    }
}

/// The numbers of a contiguous argument.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a tensor of shape {:?} is not contiguous", layout.shape()),
    }
}

impl CustomOp2 for Maps {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        Ok(self.forward(numbers(images, images_layout)?, numbers(weight, weight_layout)?, None))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [by_images, by_weight, _] = self.gradients(images, weight, None, gradient)?;
        Ok((by_images, by_weight))
    }
}

impl CustomOp3 for Maps {
    fn name(&self) -> &'static str {
        "conv2d with bias"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        let bias = numbers(bias, bias_layout)?;
        Ok(self.forward(numbers(images, images_layout)?, numbers(weight, weight_layout)?, Some(bias)))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [by_images, by_weight, by_bias] = self.gradients(images, weight, Some(bias), gradient)?;
        Ok((by_images, by_weight, by_bias))
    }
}
