//! Kernel, stride and padding of convolutions and poolings, and the sizes that follow from them.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Kernel, stride, padding and groups of a convolution; pairs are `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvGeometry {
    /// Size of each filter.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Blocks of channels that do not see one another; the number of channels for a depthwise convolution.
    pub groups: usize,
}

impl ConvGeometry {
    /// A square kernel with stride 1, no padding and one group.
    pub fn square(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [1; 2], padding: [0; 2], groups: 1 }
    }

    /// The 3x3 kernel with padding 1 that keeps the size at stride 1.
    pub fn same3() -> Self {
        Self::square(3).padding(1)
    }

    /// The same with another stride.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// The same with another padding.
    #[must_use]
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    /// The same with other groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Height and width of the output.
    ///
    /// # Errors
    /// [`ErrorKind::Declaration`] if a size is zero, the groups do not divide the channels, or the kernel exceeds the padded input.
    pub fn output_size(
        &self,
        in_channels: usize,
        out_channels: usize,
        height: usize,
        width: usize,
    ) -> Result<(usize, usize)> {
        let wrong = |why: String| Err(Error::new(ErrorKind::Declaration, why));
        if in_channels == 0 || out_channels == 0 {
            return wrong(format!("a convolution from {in_channels} to {out_channels} channels"));
        }
        let divided = |channels: usize| self.groups != 0 && channels.is_multiple_of(self.groups);
        if !divided(in_channels) || !divided(out_channels) {
            return wrong(format!("{} groups do not divide {in_channels} and {out_channels} channels", self.groups));
        }
        let window = Window { kernel: self.kernel, stride: self.stride, padding: self.padding };
        window.output_size(height, width)
    }
}

/// Window, stride and padding of a pooling; pairs are `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolGeometry {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Padding on each side, at most half the window.
    pub padding: [usize; 2],
}

impl PoolGeometry {
    /// A square window that steps by its own size.
    pub fn square(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [kernel; 2], padding: [0; 2] }
    }

    /// Height and width of the output.
    ///
    /// # Errors
    /// [`ErrorKind::Declaration`] if a size is zero, the padding exceeds half the window, or the window exceeds the padded input.
    pub fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        if (0..2).any(|axis| self.padding[axis] > self.kernel[axis] / 2) {
            let message = format!("padding {:?} exceeds half the window {:?}", self.padding, self.kernel);
            return Err(Error::new(ErrorKind::Declaration, message));
        }
        Window { kernel: self.kernel, stride: self.stride, padding: self.padding }.output_size(height, width)
    }
}

struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

impl Window {
    fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        let mut out = [0; 2];
        for (axis, size) in [height, width].into_iter().enumerate() {
            let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
            let padded = padding.checked_mul(2).and_then(|padding| size.checked_add(padding));
            let Some(padded) = padded else {
                let message = format!("padding {padding} on a side of {size} is beyond all numbers");
                return Err(Error::new(ErrorKind::Declaration, message));
            };
            if kernel == 0 || stride == 0 || kernel > padded {
                let message = format!("kernel {kernel} with stride {stride} on a side of {size} padded to {padded}");
                return Err(Error::new(ErrorKind::Declaration, message));
            }
            out[axis] = (padded - kernel) / stride + 1;
        }
        Ok((out[0], out[1]))
    }
}
