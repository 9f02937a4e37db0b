//! A convolution or linear layer with the kernels that suit its sizes, one for each direction.

use std::sync::Arc;

use super::depthwise::Depthwise;
use super::direct::Direct;
use super::finish::Finish;
use super::memory::Memory;
use super::plan::{Plan, Sizes, StepKind};
use super::winograd::Winograd;
use crate::network::{Conv2d, LayerKind, Linear};
use crate::numeric::ConvGeometry;

/// What a convolution maps to what: of one group, or with a filter for each channel. A linear layer is one of single pixels.
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
    fn of_conv(conv: &Conv2d, from: Sizes, to: Sizes) -> Self {
        Self {
            inputs: conv.in_channels,
            outputs: conv.out_channels,
            geometry: conv.geometry,
            size: [from.height, from.width],
            out_size: [to.height, to.width],
        }
    }

    /// A linear layer on every place.
    pub fn of_linear(linear: &Linear, places: Sizes) -> Self {
        let (inputs, outputs, size) = (linear.in_features, linear.out_features, [places.height, places.width]);
        Self { inputs, outputs, geometry: ConvGeometry::square(1), size, out_size: size }
    }

    /// Of a step that is a convolution or linear layer, with whether it has a bias.
    pub fn of_step(plan: &Plan, at: usize, kind: &LayerKind) -> Option<(Self, bool)> {
        let (from, to) = (plan.sizes[plan.steps[at].input], plan.sizes[at + 1]);
        match (&plan.steps[at].kind, kind) {
            (StepKind::Convolution | StepKind::Depthwise, LayerKind::Conv2d(conv)) => {
                Some((Self::of_conv(conv, from, to), conv.bias))
            }
            (StepKind::Convolution | StepKind::Linear, LayerKind::Linear(linear)) => {
                Some((Self::of_linear(linear, to), linear.bias))
            }
            _ => None,
        }
    }

    /// Whether each filter reads one channel.
    pub fn is_depthwise(&self) -> bool {
        self.geometry.groups > 1
    }

    /// Whether Winograd's filtering knows the geometry.
    pub fn fits_winograd(&self) -> bool {
        let ConvGeometry { kernel, stride, padding, .. } = self.geometry;
        !self.is_depthwise() && kernel == [3; 2] && stride == [1; 2] && padding[0] <= 2 && padding[1] <= 2
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
    Depthwise(Depthwise),
}

/// The nine weights from an input to an output.
fn nine(weight: &[f32], shape: &Shape, output: usize, input: usize) -> [f32; 9] {
    let mut nine = [0.0; 9];
    nine.copy_from_slice(&weight[(output * shape.inputs + input) * 9..][..9]);
    nine
}

impl Convolution {
    /// From input to output, with a weight `[out, in / groups, kernel height, kernel width]`.
    pub fn forward(memory: &Arc<Memory>, shape: &Shape, weight: &[f32]) -> Self {
        let channels = [shape.inputs, shape.outputs];
        let kernel = match shape.fits_winograd() && Winograd::pays(shape.inputs, shape.outputs, shape.out_size) {
            true => {
                let filter = |output, input| nine(weight, shape, output, input);
                Kernel::Winograd(Winograd::new(memory, channels, shape.geometry.padding, filter))
            }
            false if shape.is_depthwise() => Kernel::Depthwise(Depthwise::forward(shape, weight)),
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
            false if shape.is_depthwise() => Kernel::Depthwise(Depthwise::backward(shape, weight)),
            false => Kernel::Direct(Direct::backward(memory, [shape.inputs, shape.outputs], shape.geometry, weight)),
        };
        Self { kernel, size: shape.out_size, out_size: shape.size }
    }

    /// Size of its filters as they are read.
    pub fn bytes(&self) -> usize {
        match &self.kernel {
            Kernel::Winograd(kernel) => kernel.bytes(),
            Kernel::Direct(kernel) => kernel.bytes(),
            Kernel::Depthwise(kernel) => kernel.bytes(),
        }
    }

    /// From `x` `[batch, height, width, channel]` to `out`.
    pub fn run(&self, x: &[f32], out: &mut [f32], finish: Finish<'_>) {
        match &self.kernel {
            Kernel::Winograd(kernel) => kernel.run(x, self.size, out, finish),
            Kernel::Direct(kernel) => kernel.run(x, self.size, out, self.out_size, finish),
            Kernel::Depthwise(kernel) => kernel.run(x, self.size, out, finish),
        }
    }
}
