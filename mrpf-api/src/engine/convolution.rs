//! A convolution or linear layer with the kernels that suit its sizes, one for each direction.

use std::sync::Arc;

use super::direct::Direct;
use super::finish::Finish;
use super::memory::Memory;
use super::plan::Sizes;
use super::winograd::Winograd;
use crate::network::{Conv2d, Linear};
use crate::numeric::ConvGeometry;

/// What a convolution of one group maps to what; a linear layer is one of a single pixel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub inputs: usize,
    pub outputs: usize,
    pub geometry: ConvGeometry,
    /// Height and width of the input and the output.
    pub size: [usize; 2],
    pub out_size: [usize; 2],
}

impl Shape {
    pub fn of_conv(conv: &Conv2d, from: Sizes, to: Sizes) -> Self {
        Self {
            inputs: conv.in_channels,
            outputs: conv.out_channels,
            geometry: conv.geometry,
            size: [from.height, from.width],
            out_size: [to.height, to.width],
        }
    }

    pub fn of_linear(linear: &Linear) -> Self {
        let (inputs, outputs) = (linear.in_features, linear.out_features);
        Self { inputs, outputs, geometry: ConvGeometry::square(1), size: [1; 2], out_size: [1; 2] }
    }

    /// Whether Winograd's filtering knows the geometry.
    pub fn fits_winograd(&self) -> bool {
        let ConvGeometry { kernel, stride, padding, .. } = self.geometry;
        kernel == [3; 2] && stride == [1; 2] && padding[0] <= 2 && padding[1] <= 2
    }
}

/// A layer in one direction with its weight.
#[derive(Debug)]
pub(super) struct Convolution {
    kernel: Kernel,
    size: [usize; 2],
    out_size: [usize; 2],
}

#[derive(Debug)]
enum Kernel {
    Winograd(Winograd),
    Direct(Direct),
}

/// The nine weights from an input to an output.
fn nine(weight: &[f32], shape: &Shape, output: usize, input: usize) -> [f32; 9] {
    let mut nine = [0.0; 9];
    nine.copy_from_slice(&weight[(output * shape.inputs + input) * 9..][..9]);
    nine
}

impl Convolution {
    /// From input to output, with a weight `[out, in, kernel height, kernel width]`.
    pub fn forward(memory: &Arc<Memory>, shape: &Shape, weight: &[f32]) -> Self {
        let channels = [shape.inputs, shape.outputs];
        let kernel = match shape.fits_winograd() && Winograd::pays(shape.inputs, shape.outputs, shape.out_size) {
            true => {
                let filter = |output, input| nine(weight, shape, output, input);
                Kernel::Winograd(Winograd::new(memory, channels, shape.geometry.padding, filter))
            }
            false => Kernel::Direct(Direct::forward(memory, channels, shape.geometry, weight)),
        };
        Self { kernel, size: shape.size, out_size: shape.out_size }
    }

    /// From the output's gradient to the input's.
    pub fn backward(memory: &Arc<Memory>, shape: &Shape, weight: &[f32]) -> Self {
        let kernel = match shape.fits_winograd() && Winograd::pays(shape.outputs, shape.inputs, shape.size) {
            // The gradient is a convolution with the filters turned by half a turn, inputs and outputs exchanged.
            true => {
                let turned = |input, output| {
                    let mut nine = nine(weight, shape, output, input);
                    nine.reverse();
                    nine
                };
                let padding = shape.geometry.padding.map(|padding| 2 - padding);
                Kernel::Winograd(Winograd::new(memory, [shape.outputs, shape.inputs], padding, turned))
            }
            false => Kernel::Direct(Direct::backward(memory, [shape.inputs, shape.outputs], shape.geometry, weight)),
        };
        Self { kernel, size: shape.out_size, out_size: shape.size }
    }

    /// Size of its filters as they are read.
    pub fn bytes(&self) -> usize {
        match &self.kernel {
            Kernel::Winograd(kernel) => kernel.bytes(),
            Kernel::Direct(kernel) => kernel.bytes(),
        }
    }

    /// From `x` `[batch, height, width, channel]` to `out`.
    pub fn run(&self, x: &[f32], out: &mut [f32], finish: Finish<'_>) {
        match &self.kernel {
            Kernel::Winograd(kernel) => kernel.run(x, self.size, out, finish),
            Kernel::Direct(kernel) => kernel.run(x, self.size, out, self.out_size, finish),
        }
    }
}
