//! cuDNN's convolutions by its plain calls: what describes them, which algorithm is taken, and how it is started.
//!
//! Single operations and the engine on GPUs go through here. The safe bindings say nothing of which algorithms give the same bytes every
//! time, and keep their descriptions to themselves.

use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::{DType, Error, Result};
use std::ffi::c_void;
use std::mem::zeroed;
use std::sync::Arc;

/// One of the three passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Forward,
    ByImages,
    ByWeight,
}

/// Everything that the choice of an algorithm depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    pub kind: Kind,
    /// Images, filters and output: `[batch, channel, height, width]` and `[out, in / groups, height, width]`, in whatever order they lie.
    pub dims: [[usize; 4]; 3],
    /// Whether channels lie last in all three.
    pub channels_last: bool,
    pub padding: [usize; 2],
    pub stride: [usize; 2],
    pub groups: usize,
    pub dtype: DType,
    pub tf32: bool,
    pub is_deterministic: bool,
}

impl Case {
    /// Of values, and of what they are summed in.
    pub fn types(&self) -> [sys::cudnnDataType_t; 2] {
        use sys::cudnnDataType_t as Type;
        match self.dtype {
            DType::F64 => [Type::CUDNN_DATA_DOUBLE; 2],
            DType::F16 => [Type::CUDNN_DATA_HALF, Type::CUDNN_DATA_FLOAT],
            DType::BF16 => [Type::CUDNN_DATA_BFLOAT16, Type::CUDNN_DATA_FLOAT],
            _ => [Type::CUDNN_DATA_FLOAT; 2],
        }
    }

    /// The order in which values lie.
    pub fn format(&self) -> sys::cudnnTensorFormat_t {
        match self.channels_last {
            true => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
            false => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
        }
    }
}

/// An algorithm of cuDNN with the bytes of workspace that it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t, usize),
    ByImages(sys::cudnnConvolutionBwdDataAlgo_t, usize),
    ByWeight(sys::cudnnConvolutionBwdFilterAlgo_t, usize),
}

impl Algorithm {
    pub fn workspace(self) -> usize {
        match self {
            Self::Forward(_, bytes) | Self::ByImages(_, bytes) | Self::ByWeight(_, bytes) => bytes,
        }
    }
}

/// cuDNN's handle on a GPU, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Handle {
    pub handle: sys::cudnnHandle_t,
    /// It is to live as long as work may be put on it.
    stream: Arc<CudaStream>,
}

impl Handle {
    pub fn new(stream: Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        let mut made = Self { handle: result::create_handle()?, stream: stream.clone() };
        made.follow(stream)?;
        Ok(made)
    }

    /// Puts work on that stream from now on, which must be of the same GPU.
    pub fn follow(&mut self, stream: Arc<CudaStream>) -> Result<()> {
        // SAFETY: handle and stream belong to the same GPU, and the stream lives as long as it is followed.
        unsafe { result::set_stream(self.handle, stream.cu_stream().cast()) }?;
        self.stream = stream;
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: `new` made it and nobody else has it. What cuDNN says of its end changes nothing any more.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// How many algorithms cuDNN is asked for, in the order of how fast it believes them to be.
const ASKED: usize = 8;

/// cuDNN's descriptions of images, filters, output and convolution, which end with this.
pub(crate) struct Descriptions {
    pub x: sys::cudnnTensorDescriptor_t,
    pub w: sys::cudnnFilterDescriptor_t,
    pub y: sys::cudnnTensorDescriptor_t,
    pub convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptions {
    pub fn new(case: &Case) -> Result<Self> {
        let [values, sums] = case.types();
        let format = case.format();
        let math = match (case.dtype, case.tf32) {
            (DType::F16 | DType::BF16, _) => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
            // cuDNN's default lets f32 be rounded to TF32.
            (DType::F32, false) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            _ => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
        };
        let [x, w, y] = case.dims.map(|dims| dims.map(|dim| dim as i32));
        let pair = |of: [usize; 2]| of.map(|value| value as i32);
        let ([pad_h, pad_w], [stride_h, stride_w]) = (pair(case.padding), pair(case.stride));
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let made = Self {
            x: result::create_tensor_descriptor()?,
            w: result::create_filter_descriptor()?,
            y: result::create_tensor_descriptor()?,
            convolution: result::create_convolution_descriptor()?,
        };
        // SAFETY: every description was made above.
        unsafe {
            result::set_tensor4d_descriptor(made.x, format, values, x)?;
            result::set_tensor4d_descriptor(made.y, format, values, y)?;
            result::set_filter4d_descriptor(made.w, values, format, w)?;
            result::set_convolution2d_descriptor(made.convolution, pad_h, pad_w, stride_h, stride_w, 1, 1, mode, sums)?;
            result::set_convolution_group_count(made.convolution, case.groups as i32)?;
            result::set_convolution_math_type(made.convolution, math)?;
        }
        Ok(made)
    }

    /// The algorithm that cuDNN believes to be the fastest, of those that sum in the same order every time where that is asked for.
    pub fn choose(&self, handle: &Handle, case: &Case) -> Result<Algorithm> {
        let (handle, Self { x, w, y, convolution }) = (handle.handle, self);
        let mut count = 0;
        macro_rules! first {
            ($found:expr) => {
                $found[..count as usize].iter().find(|one| {
                    one.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                        && (!case.is_deterministic || one.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC)
                })
            };
        }
        let none = || {
            let wanted = if case.is_deterministic { "algorithm that is deterministic" } else { "algorithm" };
            Error::Msg(format!("cuDNN has no {wanted} for {case:?}"))
        };
        // SAFETY: the descriptions are whole, the lists are as long as is said, and zeros are a valid start for them.
        Ok(unsafe {
            match case.kind {
                Kind::Forward => {
                    let mut found = [zeroed(); ASKED];
                    result::get_convolution_forward_algorithm(
                        handle,
                        *x,
                        *w,
                        *convolution,
                        *y,
                        ASKED as i32,
                        &raw mut count,
                        found.as_mut_ptr(),
                    )?;
                    let algorithm = first!(found).ok_or_else(none)?.algo;
                    let bytes =
                        result::get_convolution_forward_workspace_size(handle, *x, *w, *convolution, *y, algorithm)?;
                    Algorithm::Forward(algorithm, bytes)
                }
                Kind::ByImages => {
                    let mut found = [zeroed(); ASKED];
                    result::get_convolution_backward_data_algorithm(
                        handle,
                        *w,
                        *y,
                        *convolution,
                        *x,
                        ASKED as i32,
                        &raw mut count,
                        found.as_mut_ptr(),
                    )?;
                    let algorithm = first!(found).ok_or_else(none)?.algo;
                    let bytes = result::get_convolution_backward_data_workspace_size(
                        handle,
                        *w,
                        *y,
                        *convolution,
                        *x,
                        algorithm,
                    )?;
                    Algorithm::ByImages(algorithm, bytes)
                }
                Kind::ByWeight => {
                    let mut found = [zeroed(); ASKED];
                    result::get_convolution_backward_filter_algorithm(
                        handle,
                        *x,
                        *y,
                        *convolution,
                        *w,
                        ASKED as i32,
                        &raw mut count,
                        found.as_mut_ptr(),
                    )?;
                    let algorithm = first!(found).ok_or_else(none)?.algo;
                    let bytes = result::get_convolution_backward_filter_workspace_size(
                        handle,
                        *x,
                        *y,
                        *convolution,
                        *w,
                        algorithm,
                    )?;
                    Algorithm::ByWeight(algorithm, bytes)
                }
            }
        })
    }

    /// Starts a pass: `arguments` are images and filters, output's gradient and filters, or images and output's gradient.
    ///
    /// # Safety
    /// The addresses are of values on the handle's GPU, as many and of the type that the descriptions say; the workspace is as large
    /// as the algorithm wants.
    pub unsafe fn start(
        &self,
        handle: &Handle,
        algorithm: Algorithm,
        dtype: DType,
        arguments: [u64; 2],
        out: u64,
        workspace: (u64, usize),
    ) -> Result<()> {
        let (handle, Self { x, w, y, convolution }) = (handle.handle, self);
        let [a, b] = arguments.map(|address| address as *const c_void);
        let (out, (workspace, bytes)) = (out as *mut c_void, (workspace.0 as *mut c_void, workspace.1));
        // Factors are in f32 for all values but f64.
        let (wide, narrow) = ([1.0f64, 0.0], [1.0f32, 0.0]);
        let factor = |at: usize| match dtype {
            DType::F64 => std::ptr::from_ref(&wide[at]).cast::<c_void>(),
            _ => std::ptr::from_ref(&narrow[at]).cast::<c_void>(),
        };
        let (one, zero) = (factor(0), factor(1));
        // SAFETY: the caller's promise.
        unsafe {
            match algorithm {
                Algorithm::Forward(algorithm, _) => result::convolution_forward(
                    handle,
                    one,
                    *x,
                    a,
                    *w,
                    b,
                    *convolution,
                    algorithm,
                    workspace,
                    bytes,
                    zero,
                    *y,
                    out,
                )?,
                Algorithm::ByImages(algorithm, _) => result::convolution_backward_data(
                    handle,
                    one,
                    *w,
                    b,
                    *y,
                    a,
                    *convolution,
                    algorithm,
                    workspace,
                    bytes,
                    zero,
                    *x,
                    out,
                )?,
                Algorithm::ByWeight(algorithm, _) => result::convolution_backward_filter(
                    handle,
                    one,
                    *x,
                    a,
                    *y,
                    b,
                    *convolution,
                    algorithm,
                    workspace,
                    bytes,
                    zero,
                    *w,
                    out,
                )?,
            }
        }
        Ok(())
    }
}

impl Drop for Descriptions {
    fn drop(&mut self) {
        // SAFETY: each was made by `new` and is used by nobody else. What cuDNN says of it changes nothing any more.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}
