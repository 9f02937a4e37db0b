//! Convolution on NVIDIA GPUs by cuDNN, forward and with both gradients.
//!
//! The algorithm of each shape is asked for once; one workspace serves all calls of a thread, and work on a GPU is ordered by its
//! stream, so that nobody reads it when it is used again. cuDNN's handles belong to threads, as Candle's do.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::{self, CudnnDataType, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, ValidAsZeroBits};
use candle_core::cuda_backend::{CudaDType, CudaDevice, DeviceId};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};
use half::{bf16, f16};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::numeric::{ConvGeometry, is_tf32_allowed};

/// Whether the tensor is on a GPU and of a type that cuDNN convolves.
pub(super) fn takes(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::F64 | DType::F16 | DType::BF16)
}

/// `images` `[batch, in, height, width]` with `weight` `[out, in / groups, kernel height, kernel width]`, both contiguous, with gradients.
pub(super) fn convolve(images: &Tensor, weight: &Tensor, geometry: &ConvGeometry) -> Result<Tensor> {
    let result = out_dims(images.shape(), weight.shape(), geometry)?;
    images.apply_op2(weight, Pass { kind: Kind::Forward, geometry: *geometry, result })
}

/// The gradient by images of `shape`, from that by the output.
pub(super) fn input_gradient(
    shape: &[usize],
    weight: &Tensor,
    gradient: &Tensor,
    geometry: &ConvGeometry,
) -> Result<Tensor> {
    let result = Shape::from(shape).dims4()?.into();
    gradient.apply_op2_no_bwd(weight, &Pass { kind: Kind::ByImages, geometry: *geometry, result })
}

/// The gradient by the weight, from that by the output.
pub(super) fn weight_gradient(images: &Tensor, gradient: &Tensor, geometry: &ConvGeometry) -> Result<Tensor> {
    let ConvGeometry { kernel, groups, .. } = *geometry;
    let result = [gradient.dim(1)?, images.dim(1)? / groups, kernel[0], kernel[1]];
    images.apply_op2_no_bwd(gradient, &Pass { kind: Kind::ByWeight, geometry: *geometry, result })
}

fn out_dims(images: &Shape, weight: &Shape, geometry: &ConvGeometry) -> Result<[usize; 4]> {
    let (batch, _, height, width) = images.dims4()?;
    let ConvGeometry { kernel, stride, padding, .. } = *geometry;
    let side = |axis: usize, size: usize| (size + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1;
    Ok([batch, weight.dims4()?.0, side(0, height), side(1, width)])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Forward,
    ByImages,
    ByWeight,
}

/// One of the three passes, with the dimensions of its result.
struct Pass {
    kind: Kind,
    geometry: ConvGeometry,
    result: [usize; 4],
}

/// Everything that the choice of an algorithm depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Case {
    kind: Kind,
    /// Images, filters and output.
    dims: [[usize; 4]; 3],
    /// Padding and stride along both axes, groups.
    windows: [usize; 5],
    dtype: DType,
    tf32: bool,
}

/// An algorithm of cuDNN with the bytes of workspace that it wants.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t, usize),
    ByImages(sys::cudnnConvolutionBwdDataAlgo_t, usize),
    ByWeight(sys::cudnnConvolutionBwdFilterAlgo_t, usize),
}

impl Algorithm {
    fn workspace(self) -> usize {
        match self {
            Self::Forward(_, bytes) | Self::ByImages(_, bytes) | Self::ByWeight(_, bytes) => bytes,
        }
    }
}

/// What a thread keeps for a GPU.
struct Library {
    handle: Arc<cudnn::Cudnn>,
    algorithms: HashMap<Case, Algorithm>,
    workspace: Option<CudaSlice<u8>>,
}

thread_local! {
    static LIBRARIES: RefCell<HashMap<DeviceId, Library>> = RefCell::new(HashMap::new());
}

fn with_library<R>(device: &CudaDevice, work: impl FnOnce(&mut Library) -> Result<R>) -> Result<R> {
    LIBRARIES.with(|libraries| {
        let mut libraries = libraries.borrow_mut();
        let library = match libraries.entry(device.id()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let handle = cudnn::Cudnn::new(device.cuda_stream())?;
                place.insert(Library { handle, algorithms: HashMap::new(), workspace: None })
            }
        };
        work(library)
    })
}

impl Pass {
    /// Dimensions of images, filters and output, from those of the two arguments.
    fn dims(&self, first: &Layout, second: &Layout) -> Result<[[usize; 4]; 3]> {
        let [first, second]: [[usize; 4]; 2] = [first.shape().dims4()?.into(), second.shape().dims4()?.into()];
        Ok(match self.kind {
            Kind::Forward => [first, second, self.result],
            Kind::ByImages => [self.result, second, first],
            Kind::ByWeight => [first, self.result, second],
        })
    }

    /// `C` is the type that is computed in.
    fn run<T, C>(&self, arguments: [&CudaStorage; 2], layouts: [&Layout; 2]) -> Result<(CudaStorage, Shape)>
    where
        T: CudaDType + CudnnDataType + DeviceRepr + ValidAsZeroBits + WithDType,
        C: CudnnDataType,
    {
        let [Some((a_start, _)), Some((b_start, _))] = layouts.map(Layout::contiguous_offsets) else {
            candle_core::bail!("cuDNN wants contiguous arguments")
        };
        let dims = self.dims(layouts[0], layouts[1])?;
        let device = arguments[0].device().clone();
        let a = arguments[0].as_cuda_slice::<T>()?.slice(a_start..);
        let b = arguments[1].as_cuda_slice::<T>()?.slice(b_start..);
        let ConvGeometry { stride, padding, groups, .. } = self.geometry;
        let tf32 = is_tf32_allowed();
        let windows = [padding[0], padding[1], stride[0], stride[1], groups];
        let case = Case { kind: self.kind, dims, windows, dtype: T::DTYPE, tf32 };
        with_library(&device, |library| {
            let pair = |values: [usize; 2]| values.map(|value| value as i32);
            let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
            let mut convolution = library.handle.create_conv2d::<C>(pair(padding), pair(stride), [1, 1], mode)?;
            convolution.set_group_count(groups as i32)?;
            // cuDNN's default lets f32 be rounded to TF32; half precision always goes by tensor cores.
            convolution.set_math_type(match (T::DTYPE, tf32) {
                (DType::F32, false) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
                (DType::F16 | DType::BF16, _) => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
                _ => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            })?;
            let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
            let [x_dims, w_dims, y_dims] = dims.map(|dims| dims.map(|dim| dim as i32));
            let x = library.handle.create_4d_tensor::<T>(format, x_dims)?;
            let w = library.handle.create_4d_filter::<T>(format, w_dims)?;
            let y = library.handle.create_4d_tensor::<T>(format, y_dims)?;
            let forward = cudnn::ConvForward { conv: &convolution, x: &x, w: &w, y: &y };
            let by_images = cudnn::ConvBackwardData { conv: &convolution, dx: &x, w: &w, dy: &y };
            let by_weight = cudnn::ConvBackwardFilter { conv: &convolution, x: &x, dw: &w, dy: &y };
            let algorithm = match library.algorithms.get(&case) {
                Some(known) => *known,
                None => {
                    let found = match self.kind {
                        Kind::Forward => {
                            let algorithm = forward.pick_algorithm()?;
                            Algorithm::Forward(algorithm, forward.get_workspace_size(algorithm)?)
                        }
                        Kind::ByImages => {
                            let algorithm = by_images.pick_algorithm()?;
                            Algorithm::ByImages(algorithm, by_images.get_workspace_size(algorithm)?)
                        }
                        Kind::ByWeight => {
                            let algorithm = by_weight.pick_algorithm()?;
                            Algorithm::ByWeight(algorithm, by_weight.get_workspace_size(algorithm)?)
                        }
                    };
                    library.algorithms.insert(case, found);
                    found
                }
            };
            let bytes = algorithm.workspace().max(1);
            if library.workspace.as_ref().is_none_or(|workspace| workspace.len() < bytes) {
                // The old one goes first, so that both need not fit.
                library.workspace = None;
                library.workspace = Some(device.alloc_zeros::<u8>(bytes)?);
            }
            let workspace = library.workspace.as_mut();
            // SAFETY: the pass below writes every value of its result, since it adds nothing to it.
            let mut out = unsafe { device.alloc::<T>(self.result.iter().product())? };
            let factors = (<T as WithDType>::from_f64(1.0), <T as WithDType>::from_f64(0.0));
            // SAFETY: descriptors and slices have the same types and sizes: `dims` are those of the layouts, whose values are contiguous
            // from the starts above; the workspace is as large as the algorithm asks for.
            unsafe {
                match algorithm {
                    Algorithm::Forward(algorithm, _) => {
                        forward.launch(algorithm, workspace, factors, &a, &b, &mut out)?;
                    }
                    Algorithm::ByImages(algorithm, _) => {
                        by_images.launch(algorithm, workspace, factors, &mut out, &b, &a)?;
                    }
                    Algorithm::ByWeight(algorithm, _) => {
                        by_weight.launch(algorithm, workspace, factors, &a, &mut out, &b)?;
                    }
                }
            }
            Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), Shape::from(self.result.to_vec())))
        })
    }
}

impl CustomOp2 for Pass {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Forward => "cuDNN's conv2d",
            Kind::ByImages => "cuDNN's conv2d, gradient by images",
            Kind::ByWeight => "cuDNN's conv2d, gradient by weight",
        }
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("{} is computed on NVIDIA GPUs only", self.name())
    }

    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        match a.dtype() {
            DType::F64 => self.run::<f64, f64>([a, b], [al, bl]),
            DType::F16 => self.run::<f16, f32>([a, b], [al, bl]),
            DType::BF16 => self.run::<bf16, f32>([a, b], [al, bl]),
            _ => self.run::<f32, f32>([a, b], [al, bl]),
        }
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Kind::Forward = self.kind else { candle_core::bail!("{} has no gradient", self.name()) };
        let [by_images, by_weight] = super::elsewhere::gradients([images, weight], gradient, &self.geometry)?;
        Ok((by_images, by_weight))
    }
}
