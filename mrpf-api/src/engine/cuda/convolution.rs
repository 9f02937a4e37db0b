//! Convolution by cuDNN on values with their channels last, with what follows it in the same call.
//!
//! Values and filters have their channels padded to eights, so that tensor cores take them at any width a network is cut to.

use candle_core::DType;
use candle_core::cuda_backend::cudarc::cudnn::result::CudnnError;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use std::ffi::c_void;
use std::sync::Arc;

use super::queue::Queue;
use crate::Result;
use crate::numeric::kernel::cudnn_calls::{Algorithm, Case, Descriptions, Kind};
use crate::numeric::{ConvGeometry, Precision, is_deterministic};

/// A convolution's sizes; channels are padded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub size: [usize; 2],
    pub out_size: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

impl Sizes {
    pub fn with_geometry(self, geometry: &ConvGeometry) -> Self {
        Self { kernel: geometry.kernel, stride: geometry.stride, padding: geometry.padding, ..self }
    }

    fn case(&self, kind: Kind, precision: Precision) -> Case {
        let Self { batch, inputs, outputs, size, out_size, kernel, stride, padding } = *self;
        let dims = [
            [batch, inputs, size[0], size[1]],
            [outputs, inputs, kernel[0], kernel[1]],
            [batch, outputs, out_size[0], out_size[1]],
        ];
        let dtype = match precision {
            Precision::F32 | Precision::Tf32 => DType::F32,
            Precision::Bf16 => DType::BF16,
            Precision::F16 => DType::F16,
        };
        let (tf32, is_deterministic) = (precision == Precision::Tf32, is_deterministic());
        Case { kind, dims, channels_last: true, padding, stride, groups: 1, dtype, tf32, is_deterministic }
    }
}

/// What is added to a convolution's output: addresses, 0 for nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ending {
    /// A value for each channel.
    pub bias: u64,
    /// A value as large as the output.
    pub other: u64,
    pub relu: bool,
}

fn checked<T>(of: std::result::Result<T, CudnnError>) -> Result<T> {
    Ok(of.map_err(candle_core::Error::wrap)?)
}

/// cuDNN's descriptions of what ends a convolution, which end with this.
struct EndDescriptions {
    bias: sys::cudnnTensorDescriptor_t,
    activation: sys::cudnnActivationDescriptor_t,
}

impl EndDescriptions {
    fn new(case: &Case, relu: bool) -> Result<Self> {
        let [_, filters, _] = case.dims;
        let [values, _] = case.types();
        let activation = match relu {
            true => sys::cudnnActivationMode_t::CUDNN_ACTIVATION_RELU,
            false => sys::cudnnActivationMode_t::CUDNN_ACTIVATION_IDENTITY,
        };
        // The only one that cuDNN takes here.
        let nan = sys::cudnnNanPropagation_t::CUDNN_NOT_PROPAGATE_NAN;
        let made = Self {
            bias: checked(result::create_tensor_descriptor())?,
            activation: checked(result::create_activation_descriptor())?,
        };
        // SAFETY: both descriptions were made above.
        unsafe {
            let dims = [1, filters[0] as i32, 1, 1];
            checked(result::set_tensor4d_descriptor(made.bias, case.format(), values, dims))?;
            checked(result::set_activation_descriptor(made.activation, activation, nan, 0.0))?;
        }
        Ok(made)
    }
}

impl Drop for EndDescriptions {
    fn drop(&mut self) {
        // SAFETY: each was made by `new` and is used by nobody else. What cuDNN says of it changes nothing any more.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.bias);
            let _ = sys::cudnnDestroyActivationDescriptor(self.activation);
        }
    }
}

impl Queue<'_> {
    /// `y = finish(x * w)`, with filters `[out, kernel height, kernel width, in]`; without a bias nothing follows.
    pub fn convolve(&mut self, sizes: &Sizes, [x, w, y]: [u64; 3], ending: Ending) -> Result<()> {
        if ending.bias == 0 {
            return self.pass(sizes, Kind::Forward, [x, w], y);
        }
        let case = sizes.case(Kind::Forward, self.gpu.precision);
        let (descriptions, ends) = (Descriptions::new(&case)?, EndDescriptions::new(&case, ending.relu)?);
        // The one algorithm that can go on without a ReLU; those for half precision are all of its kind.
        let algorithm = sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
        let Descriptions { x: x_is, w: w_is, y: y_is, convolution } = &descriptions;
        let handle = self.library.handle.handle;
        // SAFETY: the descriptions are whole.
        let bytes = checked(unsafe {
            result::get_convolution_forward_workspace_size(handle, *x_is, *w_is, *convolution, *y_is, algorithm)
        })?;
        let (workspace, size) = self.workspace(bytes)?;
        let [one, zero] = [1.0f32, 0.0f32];
        let scale = |of: &f32| std::ptr::from_ref(of).cast::<c_void>();
        let (other, share) = if ending.other == 0 { (y, &zero) } else { (ending.other, &one) };
        // SAFETY: the addresses are of buffers with the described sizes, held by the caller; the workspace is as large as was asked for.
        checked(unsafe {
            result::convolution_bias_activation_forward(
                handle,
                scale(&one),
                *x_is,
                x as *const c_void,
                *w_is,
                w as *const c_void,
                *convolution,
                algorithm,
                workspace as *mut c_void,
                size,
                scale(share),
                *y_is,
                other as *const c_void,
                ends.bias,
                ending.bias as *const c_void,
                ends.activation,
                *y_is,
                y as *mut c_void,
            )
        })
    }

    /// The gradient by the input from that by the output.
    pub fn convolve_by_input(&mut self, sizes: &Sizes, [gradient, w, by_x]: [u64; 3]) -> Result<()> {
        self.pass(sizes, Kind::ByImages, [gradient, w], by_x)
    }

    /// The gradient by the filters from that by the output.
    pub fn convolve_by_weight(&mut self, sizes: &Sizes, [x, gradient, by_w]: [u64; 3]) -> Result<()> {
        self.pass(sizes, Kind::ByWeight, [x, gradient], by_w)
    }

    fn pass(&mut self, sizes: &Sizes, kind: Kind, arguments: [u64; 2], out: u64) -> Result<()> {
        let case = sizes.case(kind, self.gpu.precision);
        let descriptions = Descriptions::new(&case)?;
        let algorithm = self.algorithm(&descriptions, case)?;
        let workspace = self.workspace(algorithm.workspace())?;
        // SAFETY: the addresses are of buffers with the described sizes, held by the caller; the workspace is as large as was asked for.
        Ok(unsafe { descriptions.start(&self.library.handle, algorithm, case.dtype, arguments, out, workspace) }?)
    }

    /// The algorithm for a case, asked for once.
    fn algorithm(&mut self, descriptions: &Descriptions, case: Case) -> Result<Algorithm> {
        if let Some(known) = self.library.algorithms.get(&case) {
            return Ok(*known);
        }
        let found = descriptions.choose(&self.library.handle, &case)?;
        self.library.algorithms.insert(case, found);
        Ok(found)
    }

    /// A workspace of at least so many bytes, and how many it has. One serves all, since work on a stream is done in order.
    fn workspace(&mut self, bytes: usize) -> Result<(u64, usize)> {
        if self.library.workspace.as_ref().is_none_or(|there| there.len() < bytes) {
            self.library.workspace = Some(Arc::new(self.gpu.bytes(bytes)?));
        }
        Ok(self.library.workspace.as_ref().map_or((0, 0), |there| (there.address(), there.len())))
    }
}
