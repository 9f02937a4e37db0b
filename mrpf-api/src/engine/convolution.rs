//! A convolution with the kernels that suit its sizes, forward and backward.

use super::direct::Direct;
use super::finish::Finish;
use super::winograd::Winograd;
use crate::network::Conv2d;

/// A convolution of one group with its bias.
#[derive(Debug)]
pub(super) struct Convolution {
    forward: Kernel,
    backward: Kernel,
    pub bias: Option<Vec<f32>>,
    size: [usize; 2],
    out_size: [usize; 2],
}

#[derive(Debug)]
enum Kernel {
    Winograd(Winograd),
    Direct(Direct),
}

impl Convolution {
    /// From a weight `[out, in, kernel height, kernel width]`, for images of the given height and width.
    pub fn new(conv: &Conv2d, size: [usize; 2], weight: &[f32], bias: Option<Vec<f32>>) -> Self {
        let (inputs, outputs, geometry) = (conv.in_channels, conv.out_channels, conv.geometry);
        let out =
            |axis: usize| (size[axis] + 2 * geometry.padding[axis] - geometry.kernel[axis]) / geometry.stride[axis] + 1;
        let out_size = [out(0), out(1)];
        let padding = geometry.padding;
        let fits = geometry.kernel == [3; 2] && geometry.stride == [1; 2] && padding[0] <= 2 && padding[1] <= 2;
        let nine = |output: usize, input: usize| {
            let mut nine = [0.0; 9];
            nine.copy_from_slice(&weight[(output * inputs + input) * 9..][..9]);
            nine
        };
        let forward = match fits && Winograd::pays(inputs, outputs, out_size) {
            true => Kernel::Winograd(Winograd::new([inputs, outputs], padding, nine)),
            false => Kernel::Direct(Direct::forward([inputs, outputs], geometry, weight)),
        };
        // The gradient is a convolution with the filters turned by half a turn, inputs and outputs exchanged.
        let backward = match fits && Winograd::pays(outputs, inputs, size) {
            true => {
                let turned = |input: usize, output: usize| {
                    let mut nine = nine(output, input);
                    nine.reverse();
                    nine
                };
                Kernel::Winograd(Winograd::new([outputs, inputs], padding.map(|padding| 2 - padding), turned))
            }
            false => Kernel::Direct(Direct::backward([inputs, outputs], geometry, weight)),
        };
        Self { forward, backward, bias, size, out_size }
    }

    /// Convolves `x` `[batch, height, width, in]` into `out` `[batch, height', width', out]`.
    pub fn run(&self, x: &[f32], out: &mut [f32], finish: Finish<'_>) {
        self.forward.run(x, self.size, out, self.out_size, finish);
    }

    /// Gradient by `x` from the output's gradient, into `by_x`.
    pub fn input_gradient(&self, gradient: &[f32], by_x: &mut [f32], finish: Finish<'_>) {
        self.backward.run(gradient, self.out_size, by_x, self.size, finish);
    }
}

impl Kernel {
    fn run(&self, x: &[f32], size: [usize; 2], out: &mut [f32], out_size: [usize; 2], finish: Finish<'_>) {
        match self {
            Self::Winograd(kernel) => kernel.run(x, size, out, finish),
            Self::Direct(kernel) => kernel.run(x, size, out, out_size, finish),
        }
    }
}
