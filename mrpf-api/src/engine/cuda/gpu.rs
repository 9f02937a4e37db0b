//! A GPU as the engine uses it: its stream, its kernels, its memory.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    self, CudaFunction, CudaSlice, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Device, Storage, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use super::memory::{DeviceBuffer, DeviceMemory};
use super::queue::Library;
use crate::numeric::Precision;
use crate::{Error, ErrorKind, Result};

/// The kernels' source; what each does is said there.
const SOURCE: &str = concat!(
    include_str!("kernels.cu"),
    include_str!("depthwise.cu"),
    include_str!("places.cu"),
    include_str!("tokens.cu"),
    include_str!("fused.cu"),
    include_str!("random.cu")
);

/// Threads in a block.
const BLOCK: u32 = 256;

/// Channels that a kernel moves at a time: every value's channels are padded to a multiple of it.
pub(super) const EIGHT: usize = 8;

/// A device with kernels for one type of value.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub device: CudaDevice,
    pub stream: Arc<CudaStream>,
    pub precision: Precision,
    pub memory: Arc<DeviceMemory>,
    pub library: Arc<Mutex<Library>>,
    /// What the kernel `normal` looks up, once it has been used.
    pub normal_tables: OnceLock<DeviceBuffer>,
    functions: HashMap<&'static str, CudaFunction>,
}

/// Every kernel of the source.
const KERNELS: [&str; 51] = [
    "arrange",
    "arrange_gradient",
    "finish",
    "activation_gradient",
    "max_pool",
    "max_pool_gradient",
    "global_mean",
    "global_mean_gradient",
    "logits",
    "by_logits",
    "linear",
    "linear_by_input",
    "linear_by_weight",
    "pack",
    "unpack",
    "fold",
    "moments",
    "gradient_sums",
    "moments_finish",
    "move_statistics",
    "gradient_finish",
    "combine",
    "by_bias",
    "pack_depthwise",
    "depthwise",
    "depthwise_by_input",
    "depthwise_by_weight",
    "depthwise_weight_finish",
    "sum_places",
    "join",
    "part",
    "flatten",
    "flatten_gradient",
    "smooth",
    "smooth_gradient",
    "layer_norm",
    "layer_norm_by_input",
    "layer_norm_sums",
    "layer_norm_finish",
    "attention",
    "attention_by_queries",
    "attention_by_keys",
    "cross_entropy",
    "cross_entropy_gradient",
    "kl_divergence",
    "kl_divergence_gradient",
    "ascend_linf",
    "sgd",
    "augment",
    "uniform",
    "normal",
];

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    /// Where something lies on the GPU; 0 for nothing.
    Address(u64),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// Sizes of a pooling: input, output, kernel, stride, padding, each by height and width.
    Window([i32; 10]),
    Heads(Heads),
}

/// Sizes of an attention, as in the source.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Heads {
    pub tokens: i32,
    pub heads: i32,
    /// Of queries and of values: channels of each head, and of all in eights.
    pub widths: [i32; 2],
    pub groups: [i32; 2],
    pub scale: f32,
}

// SAFETY: laid out as the kernels' structure of that name, seven words one after the other.
unsafe impl DeviceRepr for Heads {}

/// Work items, each a thread of its own unless a kernel says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub blocks: [u32; 2],
}

impl Grid {
    /// A thread for each of `count` items.
    pub fn of(count: usize) -> Self {
        Self { blocks: [count.div_ceil(BLOCK as usize) as u32, 1] }
    }

    /// A block for each of `count` items.
    pub fn of_blocks(count: usize) -> Self {
        Self { blocks: [count as u32, 1] }
    }

    /// A warp for each of `count` items.
    pub fn of_warps(count: usize) -> Self {
        Self::of(count * 32)
    }
}

/// Where kernels are started: to be done now, or taken down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Launcher<'a> {
    pub gpu: &'a Gpu,
    pub stream: &'a Arc<CudaStream>,
}

impl Launcher<'_> {
    /// Starts a kernel. Its arguments must be those of its signature in the source, and buffers as large as it reads and writes.
    pub fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        self.gpu.launch_on(self.stream, kernel, grid, arguments)
    }
}

impl Gpu {
    /// The GPU that a tensor's device is, ready for values of a precision; made once for each.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] if the kernels cannot be compiled or loaded.
    pub fn of(device: &CudaDevice, precision: Precision) -> Result<Arc<Self>> {
        type Known = HashMap<(DeviceId, Precision), Arc<Gpu>>;
        static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = known.get(&(device.id(), precision)) {
            return Ok(gpu.clone());
        }
        let stream = device.cuda_stream();
        let (memory, library) = match known.values().find(|gpu| gpu.device.id() == device.id()) {
            Some(gpu) => (gpu.memory.clone(), gpu.library.clone()),
            None => (Arc::default(), Arc::new(Mutex::new(Library::new(&stream)?))),
        };
        let same_values =
            |other: &&Arc<Self>| other.device.id() == device.id() && storage(other.precision) == storage(precision);
        let functions = match known.values().find(same_values) {
            Some(gpu) => gpu.functions.clone(),
            None => load(device, precision)?,
        };
        let normal_tables = OnceLock::new();
        let gpu = Self { device: device.clone(), stream, precision, memory, library, normal_tables, functions };
        Ok(known.entry((device.id(), precision)).or_insert(Arc::new(gpu)).clone())
    }

    /// The GPU that all the tensors are on, contiguous and in f32; none if one of them is not.
    pub fn of_tensors(tensors: &[&Tensor]) -> Result<Option<Arc<Self>>> {
        let is_known =
            |tensor: &&Tensor| tensor.dtype() == DType::F32 && tensor.device().is_cuda() && tensor.is_contiguous();
        match tensors.first().and_then(|first| cuda_device(first.device())) {
            Some(device) if tensors.iter().all(is_known) => Self::of(device, Precision::F32).map(Some),
            _ => Ok(None),
        }
    }

    /// Bytes of one number of a value.
    pub fn value_bytes(&self) -> usize {
        match self.precision {
            Precision::F32 | Precision::Tf32 => 4,
            Precision::Bf16 | Precision::F16 => 2,
        }
    }

    /// What gradients are multiplied by on the way back, so that f16 does not lose the small ones; a power of two, 1 for other types.
    pub fn gradient_scale(&self) -> f32 {
        match self.precision {
            Precision::F16 => 256.0,
            _ => 1.0,
        }
    }

    /// A buffer for values.
    pub fn values(&self, count: usize) -> Result<DeviceBuffer> {
        self.memory.take(&self.stream, count * self.value_bytes())
    }

    /// A buffer for numbers in f32.
    pub fn floats(&self, count: usize) -> Result<DeviceBuffer> {
        self.memory.take(&self.stream, count * size_of::<f32>())
    }

    /// A buffer of bytes.
    pub fn bytes(&self, count: usize) -> Result<DeviceBuffer> {
        self.memory.take(&self.stream, count)
    }

    /// Numbers put on the GPU.
    pub fn upload<T: Copy>(&self, numbers: &[T]) -> Result<DeviceBuffer> {
        let buffer = self.bytes(size_of_val(numbers))?;
        self.bind()?;
        // SAFETY: the buffer has room for all numbers, which the driver has taken over when the call returns.
        unsafe { driver::result::memcpy_htod_async(buffer.address(), numbers, self.stream.cu_stream()) }
            .map_err(candle_core::Error::wrap)?;
        Ok(buffer)
    }

    /// Lets this thread speak to the GPU.
    fn bind(&self) -> Result<()> {
        Ok(self.stream.context().bind_to_thread().map_err(candle_core::Error::wrap)?)
    }

    /// Copies bytes from one place on the GPU to another.
    pub fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: callers hold both places, which have so many bytes.
        unsafe { driver::result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) }
            .map_err(candle_core::Error::wrap)?;
        Ok(())
    }

    /// Fills a buffer with zeros.
    pub fn clear(&self, buffer: &DeviceBuffer) -> Result<()> {
        self.bind()?;
        // SAFETY: the buffer has so many bytes.
        unsafe { driver::result::memset_d8_async(buffer.address(), 0, buffer.len(), self.stream.cu_stream()) }
            .map_err(candle_core::Error::wrap)?;
        Ok(())
    }

    /// A tensor of its own with the numbers in f32 that lie somewhere.
    pub fn tensor(&self, from: u64, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.room(shape)?;
        with_address(&tensor, |to| self.copy(from, to, tensor.elem_count() * size_of::<f32>()))?;
        Ok(tensor)
    }

    /// A tensor whose numbers are still to be written, all of them.
    pub fn room(&self, shape: &[usize]) -> Result<Tensor> {
        // SAFETY: callers write every number before anybody else sees the tensor.
        let slice = unsafe { self.device.alloc::<f32>(shape.iter().product())? };
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, self.device.clone()));
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }

    /// Starts a kernel. Its arguments must be those of its signature in the source, and buffers as large as it reads and writes.
    pub fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        self.now().launch(kernel, grid, arguments)
    }

    /// Starts kernels to be done now.
    pub(super) fn now(&self) -> Launcher<'_> {
        Launcher { gpu: self, stream: &self.stream }
    }

    fn launch_on(&self, stream: &Arc<CudaStream>, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        let unknown = || Error::new(ErrorKind::Device, format!("there is no kernel `{kernel}`"));
        let function = self.functions.get(kernel).ok_or_else(unknown)?;
        if grid.blocks[0] == 0 {
            return Ok(());
        }
        let mut builder = stream.launch_builder(function);
        for argument in arguments {
            match argument {
                Argument::Address(address) => builder.arg(address),
                Argument::Int(number) => builder.arg(number),
                Argument::Long(number) => builder.arg(number),
                Argument::Float(number) => builder.arg(number),
                Argument::Double(number) => builder.arg(number),
                Argument::Window(sizes) => builder.arg(sizes),
                Argument::Heads(heads) => builder.arg(heads),
            };
        }
        let [x, y] = grid.blocks;
        let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (BLOCK, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: each caller passes what the kernel's signature says, with buffers of the sizes that it computes from the same numbers.
        unsafe { builder.launch(config) }.map_err(candle_core::Error::wrap)?;
        Ok(())
    }

    /// A copy of a tensor's numbers in f32.
    pub fn copy_of(tensor: &Tensor) -> candle_core::Result<CudaStorage> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { candle_core::bail!("a tensor that is not on the GPU") };
        storage.try_clone(layout)
    }

    /// One number that nobody reads, beside `like`.
    pub fn token(like: &CudaStorage) -> candle_core::Result<CudaStorage> {
        // SAFETY: the number is never read.
        let slice = unsafe { like.device().alloc::<f32>(1)? };
        Ok(CudaStorage::wrap_cuda_slice(slice, like.device().clone()))
    }
}

/// How values are stored: what VALUE says in the source.
fn storage(precision: Precision) -> u8 {
    match precision {
        Precision::F32 | Precision::Tf32 => 0,
        Precision::Bf16 => 1,
        Precision::F16 => 2,
    }
}

fn load(device: &CudaDevice, precision: Precision) -> Result<HashMap<&'static str, CudaFunction>> {
    let failed = |what: String| {
        Error::new(ErrorKind::Device, what)
            .hint("NVRTC, which compiles kernels, comes with the CUDA toolkit: `mrpf doctor` says what is found")
    };
    let stream = device.cuda_stream();
    let context = stream.context();
    let (major, minor) = context.compute_capability().map_err(candle_core::Error::wrap)?;
    let options = CompileOptions {
        options: vec![
            format!("-DVALUE={}", storage(precision)),
            format!("--gpu-architecture=compute_{major}{minor}"),
            "--std=c++17".into(),
        ],
        ..CompileOptions::default()
    };
    let compiled = compile_ptx_with_opts(SOURCE, options)
        .map_err(|error| failed(format!("the engine's kernels do not compile: {error:?}")))?;
    let module =
        context.load_module(compiled).map_err(|error| failed(format!("the engine's kernels do not load: {error}")))?;
    let function = |name: &'static str| {
        let function = module.load_function(name);
        Ok((name, function.map_err(|error| failed(format!("kernel `{name}`: {error}")))?))
    };
    KERNELS.into_iter().map(function).collect()
}

/// The CUDA device of a tensor in f32; none if it is elsewhere.
pub(crate) fn cuda_device(device: &Device) -> Option<&CudaDevice> {
    match device {
        Device::Cuda(device) => Some(device),
        _ => None,
    }
}

/// Hands `work` the address of a contiguous tensor's numbers, which are in f32 and on the GPU.
pub(super) fn with_address<R>(tensor: &Tensor, work: impl FnOnce(u64) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cuda(storage), Some((start, _))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(Error::new(
            ErrorKind::Tensor,
            format!("a tensor of shape {:?} is not contiguous on the GPU", tensor.dims()),
        ));
    };
    work(address(storage.as_cuda_slice::<f32>()?) + (start * size_of::<f32>()) as u64)
}

/// Where a slice begins. Everything here runs on one stream, so that work is ordered without events.
pub(super) fn address<T>(slice: &CudaSlice<T>) -> u64 {
    use candle_core::cuda_backend::cudarc::driver::DevicePtr;
    slice.device_ptr(slice.stream()).0
}
