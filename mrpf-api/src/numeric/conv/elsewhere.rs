//! Convolution where the kernels here do not compute: on GPUs, and in half precision.
//!
//! Every pass is a convolution forward or one of cuDNN's: with the feature `cudnn` NVIDIA GPUs take those, and all others Candle's
//! im2col with a matrix product. Candle's own backward pass is not used: it goes through a transposed convolution that on CUDA computes
//! each value by itself, and it computes the gradients of constants as well.

use candle_core::Tensor;

#[cfg(feature = "cudnn")]
use super::cudnn;
use crate::numeric::ConvGeometry;
use crate::numeric::attached::attach2;
use crate::{Error, ErrorKind, Result};

/// As [`super::conv2d`], whose arguments are checked already.
///
/// # Errors
/// [`ErrorKind::Tensor`] for unequal strides outside cuDNN.
pub(super) fn conv2d(
    images: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &ConvGeometry,
) -> Result<Tensor> {
    if geometry.stride[0] != geometry.stride[1] && !by_cudnn(images) {
        let message =
            format!("a convolution with strides {:?} in {:?} on this device", geometry.stride, images.dtype());
        return Err(Error::new(ErrorKind::Tensor, message).hint("use f32 on the CPU, or equal strides"));
    }
    let [images, weight] = [images.contiguous()?, weight.contiguous()?];
    let out = convolved(&images, &weight, geometry)?;
    match bias {
        None => Ok(out),
        Some(bias) => Ok(out.broadcast_add(&bias.reshape((1, (), 1, 1))?)?),
    }
}

fn convolved(images: &Tensor, weight: &Tensor, geometry: &ConvGeometry) -> candle_core::Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if cudnn::takes(images) {
        return cudnn::convolve(images, weight, geometry);
    }
    let out = forward(&images.detach(), &weight.detach(), geometry)?;
    let geometry = *geometry;
    attach2("conv2d", [images, weight], out, move |of, _, gradient| gradients(of, gradient, &geometry))
}

/// Whether cuDNN takes the tensor.
fn by_cudnn(images: &Tensor) -> bool {
    #[cfg(feature = "cudnn")]
    return cudnn::takes(images);
    #[cfg(not(feature = "cudnn"))]
    {
        let _ = images;
        false
    }
}

/// By Candle.
fn forward(images: &Tensor, weight: &Tensor, geometry: &ConvGeometry) -> candle_core::Result<Tensor> {
    let ConvGeometry { stride, padding, groups, .. } = *geometry;
    match padding[0] == padding[1] {
        true => images.conv2d(weight, padding[0], stride[0], 1, groups),
        false => padded(images, padding)?.conv2d(weight, 0, stride[0], 1, groups),
    }
}

/// Images with zeros around them.
fn padded(images: &Tensor, padding: [usize; 2]) -> candle_core::Result<Tensor> {
    images.pad_with_zeros(2, padding[0], padding[0])?.pad_with_zeros(3, padding[1], padding[1])?.contiguous()
}

/// The gradient by images of a `shape` `[batch, in, height, width]`: a convolution of the gradient by the output, spread by the stride,
/// with the filters turned round.
fn input_gradient(
    shape: &[usize],
    weight: &Tensor,
    gradient: &Tensor,
    geometry: &ConvGeometry,
) -> candle_core::Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if cudnn::takes(gradient) {
        return cudnn::input_gradient(shape, weight, gradient, geometry);
    }
    let ConvGeometry { kernel, stride, padding, groups } = *geometry;
    let (outputs, per_group, _, _) = weight.dims4()?;
    let by_group = weight.reshape(vec![groups, outputs / groups, per_group, kernel[0], kernel[1]])?;
    let filters = by_group.transpose(1, 2)?.contiguous()?;
    let filters = filters.reshape((groups * per_group, outputs / groups, kernel[0], kernel[1]))?;
    let filters = turned(&turned(&filters, 2)?, 3)?;
    // How many zeros stand before and behind the gradient along each axis; fewer than none are values that go.
    let margins = [0, 1].map(|axis| {
        let before = kernel[axis] as isize - 1 - padding[axis] as isize;
        let unread = (shape[axis + 2] + 2 * padding[axis] - kernel[axis]) % stride[axis];
        [before, before + unread as isize]
    });
    let spread = spread(&spread(gradient, 2, stride[0])?, 3, stride[1])?;
    let [[top, bottom], [left, right]] = margins;
    if top >= 0 && [bottom, left, right].iter().all(|margin| *margin == top) {
        return spread.contiguous()?.conv2d(&filters, top as usize, 1, 1, groups);
    }
    let placed = with_margins(&with_margins(&spread, 2, margins[0])?, 3, margins[1])?;
    placed.contiguous()?.conv2d(&filters, 0, 1, 1, groups)
}

/// The gradient by the weight: a convolution of the images with the gradient by the output as filters, batch and channels exchanged.
fn weight_gradient(images: &Tensor, gradient: &Tensor, geometry: &ConvGeometry) -> candle_core::Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if cudnn::takes(gradient) {
        return cudnn::weight_gradient(images, gradient, geometry);
    }
    let ConvGeometry { kernel, stride, padding, groups } = *geometry;
    let (images, padding) = match padding[0] == padding[1] {
        true => (images.clone(), padding[0]),
        false => (padded(images, padding)?, 0),
    };
    let (inputs, outputs) = (images.dim(1)? / groups, gradient.dim(1)? / groups);
    let of_group = |group: usize| {
        let images = images.narrow(1, group * inputs, inputs)?.transpose(0, 1)?.contiguous()?;
        let gradient = gradient.narrow(1, group * outputs, outputs)?.transpose(0, 1)?.contiguous()?;
        let all = images.conv2d(&gradient, padding, 1, stride[0], 1)?;
        // Rows and columns that no window reaches leave further places of the filter behind.
        all.narrow(2, 0, kernel[0])?.narrow(3, 0, kernel[1])?.transpose(0, 1)?.contiguous()
    };
    match groups {
        1 => of_group(0),
        _ => Tensor::cat(&(0..groups).map(of_group).collect::<candle_core::Result<Vec<_>>>()?, 0),
    }
}

/// The values along an axis from the last to the first.
fn turned(x: &Tensor, axis: usize) -> candle_core::Result<Tensor> {
    let size = x.dim(axis)? as u32;
    match size {
        0 | 1 => Ok(x.clone()),
        _ => x.index_select(&Tensor::from_iter((0..size).rev(), x.device())?, axis),
    }
}

/// `stride - 1` zeros between two values along an axis.
fn spread(x: &Tensor, axis: usize, stride: usize) -> candle_core::Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let length = (x.dim(axis)? - 1) * stride + 1;
    x.unsqueeze(axis + 1)?.pad_with_zeros(axis + 1, 0, stride - 1)?.flatten(axis, axis + 1)?.narrow(axis, 0, length)
}

/// Zeros before and behind the values along an axis; values cut off where there are fewer than none.
fn with_margins(x: &Tensor, axis: usize, [before, behind]: [isize; 2]) -> candle_core::Result<Tensor> {
    let cut = |margin: isize| margin.min(0).unsigned_abs();
    let kept = x.dim(axis)?.saturating_sub(cut(before) + cut(behind));
    x.narrow(axis, cut(before), kept)?.pad_with_zeros(axis, before.max(0) as usize, behind.max(0) as usize)
}

/// Gradients by images and weight. An argument that is not tracked costs nothing: neither the weights in an attack, nor the images at the
/// first layer in training.
pub(super) fn gradients(
    [images, weight]: [&Tensor; 2],
    gradient: &Tensor,
    geometry: &ConvGeometry,
) -> candle_core::Result<[Option<Tensor>; 2]> {
    let gradient = gradient.contiguous()?;
    let by_images = || input_gradient(images.dims(), &weight.detach().contiguous()?, &gradient, geometry);
    let by_weight = || {
        #[cfg(test)]
        super::tests::count_weight_gradient();
        weight_gradient(&images.detach().contiguous()?, &gradient, geometry)
    };
    let by_images = images.track_op().then(by_images).transpose()?;
    Ok([by_images, weight.track_op().then(by_weight).transpose()?])
}
