//! The kernels against the operation in f64.

use super::{Depthwise, weight_gradient};
use crate::Result;
use crate::engine::convolution::Shape;
use crate::engine::finish::Finish;
use crate::engine::tests::largest;
use crate::numeric::ConvGeometry;
use crate::random::Streams;
use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;

/// `[batch, height, width, channel]` to maps in f64.
fn maps(values: &[f32], [height, width]: [usize; 2], channels: usize) -> Result<Tensor> {
    let tensor = Tensor::from_slice(values, ((), height, width, channels), &Device::Cpu)?;
    Ok(tensor.permute((0, 3, 1, 2))?.to_dtype(DType::F64)?.contiguous()?)
}

fn check(shape: &Shape, batch: usize) -> Result<()> {
    let mut stream = Streams::new(5).stream();
    let mut numbers =
        |count: usize| -> Result<Vec<f32>> { Ok(stream.normal(&[count], DType::F32, &Device::Cpu)?.to_vec1()?) };
    let (channels, taps) = (shape.outputs, shape.geometry.kernel);
    let pixels = |size: [usize; 2]| batch * size[0] * size[1] * channels;
    let x = numbers(pixels(shape.size))?;
    let gradient = numbers(pixels(shape.out_size))?;
    let weight = numbers(channels * taps[0] * taps[1])?;
    let images = Var::from_tensor(&maps(&x, shape.size, channels)?)?;
    let filters = Tensor::from_slice(&weight, (channels, 1, taps[0], taps[1]), &Device::Cpu)?;
    let filters = Var::from_tensor(&filters.to_dtype(DType::F64)?)?;
    let expected = crate::numeric::conv2d(&images, &filters, None, &shape.geometry)?;
    let gradients = (&expected * maps(&gradient, shape.out_size, channels)?)?.sum_all()?.backward()?;
    let near = |found: Tensor, expected: &Tensor| -> Result<()> {
        let difference = largest(&(found.to_dtype(DType::F64)? - expected)?)?;
        assert!(difference < 1e-4 * largest(expected)?.max(1.0), "{shape:?}: {difference}");
        Ok(())
    };
    // What nobody wrote must not look like a result.
    let mut out = vec![f32::NAN; gradient.len()];
    Depthwise::forward(shape, &weight).run(&x, shape.size, &mut out, Finish::default());
    near(maps(&out, shape.out_size, channels)?, &expected)?;
    let mut by_x = vec![f32::NAN; x.len()];
    Depthwise::backward(shape, &weight).run(&gradient, shape.out_size, &mut by_x, Finish::default());
    near(maps(&by_x, shape.size, channels)?, gradients.get(&images).expect("a gradient"))?;
    let by_weight = weight_gradient(shape, &x, &gradient);
    near(Tensor::from_vec(by_weight, filters.shape(), &Device::Cpu)?, gradients.get(&filters).expect("a gradient"))
}

proptest! {
    #[test]
    fn kernels_are_their_definition(
        channels in 2..40usize,
        size in [1..13usize, 1..13usize],
        kernel in [1..6usize, 1..6usize],
        stride in [1..4usize, 1..4usize],
        padding in [0..4usize, 0..4usize],
        is_three: bool,
        batch in 1..4usize,
    ) {
        let kernel = if is_three { [3; 2] } else { kernel };
        let geometry = ConvGeometry { kernel, stride, padding, groups: channels };
        let Ok((height, width)) = geometry.output_size(channels, channels, size[0], size[1]) else { return Ok(()) };
        let shape = Shape { inputs: channels, outputs: channels, geometry, size, out_size: [height, width] };
        check(&shape, batch)?;
    }
}
