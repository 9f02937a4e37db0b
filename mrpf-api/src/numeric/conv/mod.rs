//! Two-dimensional convolution.
//!
//! Candle's own is right but computes every gradient always, and slowly: 2 to 5 times as long per layer on two cores.
//! Here an argument that is not tracked costs nothing in the backward pass.

mod columns;
#[cfg(feature = "cudnn")]
mod cudnn;
#[cfg(feature = "cudnn")]
pub(crate) mod cudnn_calls;
mod depthwise;
mod elsewhere;
mod forward;
mod input_gradient;
mod shape;
mod weight_gradient;

#[cfg(test)]
pub(super) mod tests;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Shape, Tensor};
use std::marker::PhantomData;

use self::shape::ConvShape;
use super::ConvGeometry;
use super::float::{Float, for_dtype, is_native, read, tensor, values};
use crate::{Error, ErrorKind, Result};

/// Convolution of `images` `[batch, in, height, width]` with `weight`
/// `[out, in / groups, kernel height, kernel width]`, plus `bias` `[out]` where given; gives
/// `[batch, out, height', width']`.
///
/// In f32 and f64 on the CPU the results are the same bits at any number of threads. On NVIDIA GPUs this is cuDNN with the feature
/// `cudnn`; elsewhere it goes by Candle's convolution, which wants the same stride on both axes.
///
/// # Errors
/// [`ErrorKind::Declaration`] if the geometry does not fit the channels and sizes, [`ErrorKind::Tensor`] if the tensors
/// do not fit the geometry.
pub fn conv2d(images: &Tensor, weight: &Tensor, bias: Option<&Tensor>, geometry: &ConvGeometry) -> Result<Tensor> {
    let shape = ConvShape::new(images.dims(), weight.dims(), geometry)?;
    if let Some(bias) = bias
        && bias.dims() != &weight.dims()[..1]
    {
        let message = format!("bias of shape {:?} on {} channels", bias.dims(), weight.dims()[0]);
        return Err(Error::new(ErrorKind::Tensor, message));
    }
    if !is_native(images) {
        return elsewhere::conv2d(images, weight, bias, geometry);
    }
    let [images, weight] = [images.contiguous()?, weight.contiguous()?];
    if images.dtype() == DType::F32 && geometry.groups == 1 {
        let bias = bias.map(|bias| bias.contiguous()).transpose()?;
        return Ok(crate::engine::conv2d(&images, &weight, bias.as_ref(), geometry)?);
    }
    for_dtype!(images, T => {
        let convolution = Convolution::<T>::new(shape, images.dims(), weight.dims());
        Ok(match bias {
            None => images.apply_op2(&weight, convolution)?,
            Some(bias) => images.apply_op3(&weight, &bias.contiguous()?, convolution)?,
        })
    })
}

/// The operation on the autograd graph, with and without bias.
struct Convolution<T> {
    shape: ConvShape,
    images: Shape,
    weight: Shape,
    out: Shape,
    element: PhantomData<T>,
}

impl<T: Float> Convolution<T> {
    fn new(shape: ConvShape, images: &[usize], weight: &[usize]) -> Self {
        let ConvShape { stride, padding, kernel, .. } = shape;
        let side = |axis: usize| (images[axis + 2] + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1;
        let out = Shape::from((images[0], weight[0], side(0), side(1)));
        Self { shape, images: images.into(), weight: weight.into(), out, element: PhantomData }
    }

    fn forward(&self, images: &[T], weight: &[T], bias: Option<&[T]>) -> (CpuStorage, Shape) {
        let convolve = if self.shape.is_depthwise() { depthwise::convolve } else { forward::convolve };
        (T::to_cpu_storage_owned(convolve(&self.shape, images, weight, bias)), self.out.clone())
    }

    fn input_gradient(&self, weight: &Tensor, gradient: &Tensor) -> candle_core::Result<Tensor> {
        let kernel = if self.shape.is_depthwise() { depthwise::input_gradient } else { input_gradient::input_gradient };
        let values = read::<T, _>(weight, |w| read(gradient, |g| Ok(kernel(&self.shape, g, w))))?;
        tensor(values, self.images.clone())
    }

    fn weight_gradient(&self, images: &Tensor, gradient: &Tensor) -> candle_core::Result<Tensor> {
        #[cfg(test)]
        tests::count_weight_gradient();
        let kernel =
            if self.shape.is_depthwise() { depthwise::weight_gradient } else { weight_gradient::weight_gradient };
        let values = read::<T, _>(images, |x| read(gradient, |g| Ok(kernel(&self.shape, x, g))))?;
        tensor(values, self.weight.clone())
    }

    fn bias_gradient(&self, gradient: &Tensor) -> candle_core::Result<Tensor> {
        let values = read::<T, _>(gradient, |g| Ok(weight_gradient::bias_gradient(&self.shape, g)))?;
        let count = values.len();
        tensor(values, count)
    }

    /// Gradients by images and weight, each only where it is asked for.
    fn gradients(
        &self,
        images: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let by_images = images.track_op().then(|| self.input_gradient(weight, gradient)).transpose()?;
        let by_weight = weight.track_op().then(|| self.weight_gradient(images, gradient)).transpose()?;
        Ok((by_images, by_weight))
    }
}

impl<T: Float> CustomOp2 for Convolution<T> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(self.forward(values(images, images_layout)?, values(weight, weight_layout)?, None))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(images, weight, &gradient.contiguous()?)
    }
}

impl<T: Float> CustomOp3 for Convolution<T> {
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
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let bias = values(bias, bias_layout)?;
        Ok(self.forward(values(images, images_layout)?, values(weight, weight_layout)?, Some(bias)))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (by_images, by_weight) = self.gradients(images, weight, &gradient)?;
        let by_bias = bias.track_op().then(|| self.bias_gradient(&gradient)).transpose()?;
        Ok((by_images, by_weight, by_bias))
    }
}
