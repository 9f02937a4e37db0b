//! Convolution on NVIDIA GPUs by cuDNN, forward and with both gradients.
//!
//! The algorithm of each shape is asked for once; one workspace serves all calls of a thread, and work on a GPU is ordered by its
//! stream, so that nobody reads it when it is used again. cuDNN's handles belong to threads, as Candle's do.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut, DeviceRepr};
use candle_core::cuda_backend::{CudaDType, CudaDevice, DeviceId};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};
use half::{bf16, f16};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::cudnn_calls::{Algorithm, Case, Descriptions, Handle, Kind};
use crate::numeric::{ConvGeometry, is_deterministic, is_tf32_allowed};

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

/// One of the three passes, with the dimensions of its result.
struct Pass {
    kind: Kind,
    geometry: ConvGeometry,
    result: [usize; 4],
}

/// What a thread keeps for a GPU.
struct Library {
    handle: Handle,
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
                let handle = Handle::new(device.cuda_stream())?;
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

    fn run<T>(&self, arguments: [&CudaStorage; 2], layouts: [&Layout; 2]) -> Result<(CudaStorage, Shape)>
    where
        T: CudaDType + DeviceRepr + WithDType,
    {
        let [Some((a_start, _)), Some((b_start, _))] = layouts.map(Layout::contiguous_offsets) else {
            candle_core::bail!("cuDNN wants contiguous arguments")
        };
        let device = arguments[0].device().clone();
        let stream = device.cuda_stream();
        let a = arguments[0].as_cuda_slice::<T>()?.slice(a_start..);
        let b = arguments[1].as_cuda_slice::<T>()?.slice(b_start..);
        let ConvGeometry { stride, padding, groups, .. } = self.geometry;
        let case = Case {
            kind: self.kind,
            dims: self.dims(layouts[0], layouts[1])?,
            channels_last: false,
            padding,
            stride,
            groups,
            dtype: T::DTYPE,
            tf32: is_tf32_allowed(),
            is_deterministic: is_deterministic(),
        };
        with_library(&device, |library| {
            let descriptions = Descriptions::new(&case)?;
            let algorithm = match library.algorithms.get(&case) {
                Some(known) => *known,
                None => {
                    let found = descriptions.choose(&library.handle, &case)?;
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
            // SAFETY: the pass below writes every value of its result, since it adds nothing to it.
            let mut out = unsafe { device.alloc::<T>(self.result.iter().product())? };
            {
                // What is kept beside an address tells the stream when its work is done, if anybody tracks that.
                let ((a, _a), (b, _b)) = (a.device_ptr(&stream), b.device_ptr(&stream));
                let (to, _to) = out.device_ptr_mut(&stream);
                let room = library.workspace.as_mut().map(|workspace| workspace.device_ptr_mut(&stream));
                let address = room.as_ref().map_or(0, |(address, _)| *address);
                // SAFETY: descriptions and slices have the same types and sizes: `dims` are those of the layouts, whose values are
                // contiguous from the starts above; the workspace is as large as the algorithm asks for.
                unsafe {
                    descriptions.start(&library.handle, algorithm, T::DTYPE, [a, b], to, (address, bytes))?;
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
            DType::F64 => self.run::<f64>([a, b], [al, bl]),
            DType::F16 => self.run::<f16>([a, b], [al, bl]),
            DType::BF16 => self.run::<bf16>([a, b], [al, bl]),
            _ => self.run::<f32>([a, b], [al, bl]),
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
