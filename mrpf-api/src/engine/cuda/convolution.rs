//! Convolution by cuDNN on values with their channels last.
//!
//! Values and filters have their channels padded to eights, so that tensor cores take them at any width a network is cut to.

use candle_core::cuda_backend::cudarc::cudnn::result::CudnnError;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use std::ffi::c_void;
use std::mem::zeroed;
use std::sync::Arc;

use super::queue::Queue;
use crate::Result;
use crate::numeric::{ConvGeometry, Precision, is_deterministic};

/// A convolution's sizes; channels are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sizes {
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Forward,
    ByInput,
    ByWeight,
}

/// Everything that the choice of an algorithm depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    sizes: Sizes,
    direction: Direction,
    precision: Precision,
    is_deterministic: bool,
}

/// An algorithm of cuDNN with the bytes of workspace that it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t, usize),
    ByInput(sys::cudnnConvolutionBwdDataAlgo_t, usize),
    ByWeight(sys::cudnnConvolutionBwdFilterAlgo_t, usize),
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

/// cuDNN's descriptions of images, filters, output and convolution, which end with this.
struct Descriptions {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    bias: sys::cudnnTensorDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
    activation: sys::cudnnActivationDescriptor_t,
}

impl Descriptions {
    fn new(sizes: &Sizes, precision: Precision, relu: bool) -> Result<Self> {
        use sys::cudnnDataType_t as Type;
        use sys::cudnnMathType_t as Math;
        let (dtype, math) = match precision {
            Precision::F32 => (Type::CUDNN_DATA_FLOAT, Math::CUDNN_FMA_MATH),
            Precision::Tf32 => (Type::CUDNN_DATA_FLOAT, Math::CUDNN_DEFAULT_MATH),
            Precision::Bf16 => (Type::CUDNN_DATA_BFLOAT16, Math::CUDNN_TENSOR_OP_MATH),
            Precision::F16 => (Type::CUDNN_DATA_HALF, Math::CUDNN_TENSOR_OP_MATH),
        };
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let dims = |of: [usize; 4]| of.map(|dim| dim as i32);
        let [height, width] = sizes.size;
        let [out_height, out_width] = sizes.out_size;
        let [kernel_height, kernel_width] = sizes.kernel;
        // SAFETY: every description is made before it is set, and the sizes are those of the values.
        unsafe {
            let made = Self {
                x: checked(result::create_tensor_descriptor())?,
                w: checked(result::create_filter_descriptor())?,
                y: checked(result::create_tensor_descriptor())?,
                bias: checked(result::create_tensor_descriptor())?,
                convolution: checked(result::create_convolution_descriptor())?,
                activation: checked(result::create_activation_descriptor())?,
            };
            checked(result::set_tensor4d_descriptor(
                made.x,
                format,
                dtype,
                dims([sizes.batch, sizes.inputs, height, width]),
            ))?;
            checked(result::set_tensor4d_descriptor(
                made.y,
                format,
                dtype,
                dims([sizes.batch, sizes.outputs, out_height, out_width]),
            ))?;
            checked(result::set_tensor4d_descriptor(made.bias, format, dtype, dims([1, sizes.outputs, 1, 1])))?;
            checked(result::set_filter4d_descriptor(
                made.w,
                dtype,
                format,
                dims([sizes.outputs, sizes.inputs, kernel_height, kernel_width]),
            ))?;
            let pair = |of: [usize; 2]| of.map(|value| value as i32);
            let ([pad_h, pad_w], [stride_h, stride_w]) = (pair(sizes.padding), pair(sizes.stride));
            checked(result::set_convolution2d_descriptor(
                made.convolution,
                pad_h,
                pad_w,
                stride_h,
                stride_w,
                1,
                1,
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            ))?;
            checked(result::set_convolution_math_type(made.convolution, math))?;
            checked(result::set_activation_descriptor(
                made.activation,
                match relu {
                    true => sys::cudnnActivationMode_t::CUDNN_ACTIVATION_RELU,
                    false => sys::cudnnActivationMode_t::CUDNN_ACTIVATION_IDENTITY,
                },
                sys::cudnnNanPropagation_t::CUDNN_NOT_PROPAGATE_NAN,
                0.0,
            ))?;
            Ok(made)
        }
    }
}

impl Drop for Descriptions {
    fn drop(&mut self) {
        // SAFETY: each was made by `new` and is used by nobody else. What cuDNN says of it changes nothing any more.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_tensor_descriptor(self.bias);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_convolution_descriptor(self.convolution);
            let _ = sys::cudnnDestroyActivationDescriptor(self.activation);
        }
    }
}

/// How many algorithms cuDNN is asked for, in the order of how fast it believes them to be.
const ASKED: usize = 8;

impl Queue<'_> {
    /// `y = finish(x * w)`, with filters `[out, kernel height, kernel width, in]`.
    pub fn convolve(&mut self, sizes: &Sizes, [x, w, y]: [u64; 3], ending: Ending) -> Result<()> {
        let descriptions = Descriptions::new(sizes, self.gpu.precision, ending.relu)?;
        let fused = sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
        let algorithm = match ending.bias {
            0 => self.choose(sizes, Direction::Forward, &descriptions)?,
            // The one algorithm that can go on without a ReLU; those for half precision are all of its kind.
            _ => Algorithm::Forward(fused, self.forward_workspace(&descriptions, fused)?),
        };
        let Algorithm::Forward(algorithm, bytes) = algorithm else { return Ok(()) };
        let (workspace, size) = self.workspace(bytes)?;
        let [one, zero] = [1.0f32, 0.0f32];
        let Descriptions { x: xd, w: wd, y: yd, bias, convolution, activation } = descriptions;
        let scale = |of: &f32| std::ptr::from_ref(of).cast::<c_void>();
        let (other, share) = if ending.other == 0 { (y, &zero) } else { (ending.other, &one) };
        let handle = self.library.handle;
        // SAFETY: the addresses are of buffers with the described sizes, held by the caller; the workspace is as large as was asked for.
        checked(unsafe {
            match ending.bias {
                0 => result::convolution_forward(
                    handle,
                    scale(&one),
                    xd,
                    x as *const c_void,
                    wd,
                    w as *const c_void,
                    convolution,
                    algorithm,
                    workspace,
                    size,
                    scale(&zero),
                    yd,
                    y as *mut c_void,
                ),
                address => result::convolution_bias_activation_forward(
                    handle,
                    scale(&one),
                    xd,
                    x as *const c_void,
                    wd,
                    w as *const c_void,
                    convolution,
                    algorithm,
                    workspace,
                    size,
                    scale(share),
                    yd,
                    other as *const c_void,
                    bias,
                    address as *const c_void,
                    activation,
                    yd,
                    y as *mut c_void,
                ),
            }
        })?;
        drop(descriptions);
        Ok(())
    }

    /// The gradient by the input from that by the output.
    pub fn convolve_by_input(&mut self, sizes: &Sizes, [gradient, w, by_x]: [u64; 3]) -> Result<()> {
        let descriptions = Descriptions::new(sizes, self.gpu.precision, false)?;
        let Algorithm::ByInput(algorithm, bytes) = self.choose(sizes, Direction::ByInput, &descriptions)? else {
            return Ok(());
        };
        let (workspace, size) = self.workspace(bytes)?;
        let [one, zero] = [1.0f32, 0.0f32];
        let scale = |of: &f32| std::ptr::from_ref(of).cast::<c_void>();
        // SAFETY: as in `convolve`.
        checked(unsafe {
            result::convolution_backward_data(
                self.library.handle,
                scale(&one),
                descriptions.w,
                w as *const c_void,
                descriptions.y,
                gradient as *const c_void,
                descriptions.convolution,
                algorithm,
                workspace,
                size,
                scale(&zero),
                descriptions.x,
                by_x as *mut c_void,
            )
        })
    }

    /// The gradient by the filters from that by the output.
    pub fn convolve_by_weight(&mut self, sizes: &Sizes, [x, gradient, by_w]: [u64; 3]) -> Result<()> {
        let descriptions = Descriptions::new(sizes, self.gpu.precision, false)?;
        let Algorithm::ByWeight(algorithm, bytes) = self.choose(sizes, Direction::ByWeight, &descriptions)? else {
            return Ok(());
        };
        let (workspace, size) = self.workspace(bytes)?;
        let [one, zero] = [1.0f32, 0.0f32];
        let scale = |of: &f32| std::ptr::from_ref(of).cast::<c_void>();
        // SAFETY: as in `convolve`.
        checked(unsafe {
            result::convolution_backward_filter(
                self.library.handle,
                scale(&one),
                descriptions.x,
                x as *const c_void,
                descriptions.y,
                gradient as *const c_void,
                descriptions.convolution,
                algorithm,
                workspace,
                size,
                scale(&zero),
                descriptions.w,
                by_w as *mut c_void,
            )
        })
    }

    fn forward_workspace(&self, of: &Descriptions, algorithm: sys::cudnnConvolutionFwdAlgo_t) -> Result<usize> {
        // SAFETY: the descriptions are whole.
        checked(unsafe {
            result::get_convolution_forward_workspace_size(
                self.library.handle,
                of.x,
                of.w,
                of.convolution,
                of.y,
                algorithm,
            )
        })
    }

    /// The algorithm that cuDNN believes to be the fastest; asked once for each case.
    fn choose(&mut self, sizes: &Sizes, direction: Direction, of: &Descriptions) -> Result<Algorithm> {
        let (precision, handle) = (self.gpu.precision, self.library.handle);
        let case = Case { sizes: *sizes, direction, precision, is_deterministic: is_deterministic() };
        if let Some(known) = self.library.algorithms.get(&case) {
            return Ok(*known);
        }
        // One that is there, and sums in the same order every time where that is asked for.
        macro_rules! first {
            ($found:expr, $count:expr) => {
                $found[..$count as usize].iter().find(|one| {
                    one.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                        && (!case.is_deterministic || one.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC)
                })
            };
        }
        let none = || {
            let message = format!("cuDNN has no algorithm for a convolution of {sizes:?} in {precision}");
            crate::Error::new(crate::ErrorKind::Device, message)
        };
        let mut count = 0;
        // SAFETY: the descriptions are whole, the lists are as long as is said, and zeros are a valid start for them.
        let algorithm = unsafe {
            match direction {
                Direction::Forward => {
                    let mut found = [zeroed(); ASKED];
                    checked(result::get_convolution_forward_algorithm(
                        handle,
                        of.x,
                        of.w,
                        of.convolution,
                        of.y,
                        ASKED as i32,
                        &raw mut count,
                        found.as_mut_ptr(),
                    ))?;
                    let algorithm = first!(found, count).ok_or_else(none)?.algo;
                    Algorithm::Forward(algorithm, self.forward_workspace(of, algorithm)?)
                }
                Direction::ByInput => {
                    let mut found = [zeroed(); ASKED];
                    checked(result::get_convolution_backward_data_algorithm(
                        handle,
                        of.w,
                        of.y,
                        of.convolution,
                        of.x,
                        ASKED as i32,
                        &raw mut count,
                        found.as_mut_ptr(),
                    ))?;
                    let algorithm = first!(found, count).ok_or_else(none)?.algo;
                    let bytes = result::get_convolution_backward_data_workspace_size(
                        handle,
                        of.w,
                        of.y,
                        of.convolution,
                        of.x,
                        algorithm,
                    );
                    Algorithm::ByInput(algorithm, checked(bytes)?)
                }
                Direction::ByWeight => {
                    let mut found = [zeroed(); ASKED];
                    checked(result::get_convolution_backward_filter_algorithm(
                        handle,
                        of.x,
                        of.y,
                        of.convolution,
                        of.w,
                        ASKED as i32,
                        &raw mut count,
                        found.as_mut_ptr(),
                    ))?;
                    let algorithm = first!(found, count).ok_or_else(none)?.algo;
                    let bytes = result::get_convolution_backward_filter_workspace_size(
                        handle,
                        of.x,
                        of.y,
                        of.convolution,
                        of.w,
                        algorithm,
                    );
                    Algorithm::ByWeight(algorithm, checked(bytes)?)
                }
            }
        };
        self.library.algorithms.insert(case, algorithm);
        Ok(algorithm)
    }

    /// A workspace of at least so many bytes, and how many it has. One serves all, since work on a stream is done in order.
    fn workspace(&mut self, bytes: usize) -> Result<(*mut c_void, usize)> {
        if self.library.workspace.as_ref().is_none_or(|there| there.len() < bytes) {
            self.library.workspace = Some(Arc::new(self.gpu.bytes(bytes)?));
        }
        let there = self.library.workspace.as_ref();
        Ok(there.map_or((std::ptr::null_mut(), 0), |there| (there.address() as *mut c_void, there.len())))
    }
}
