//! Opening a GPU the way that everything here expects it, and what NVIDIA's driver tells of the GPUs and of itself.

use candle_core::Device;

use crate::Result;

/// The NVIDIA GPU of that number, counted from 0.
///
/// Unlike [`Device::new_cuda`], whose every thread has a stream of its own, all threads put their work on one stream, so that it is done in
/// the order in which it was asked for and nobody has to wait by events; and memory that is freed stays with the program, for asking the
/// driver anew after each synchronisation takes longer than most kernels.
///
/// # Errors
/// [`ErrorKind::Device`](crate::ErrorKind::Device) with the driver's code if there is none; in a build without the feature `cuda`,
/// [`ErrorKind::Tensor`](crate::ErrorKind::Tensor).
pub fn open_cuda(number: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return cuda::open(number);
    #[cfg(not(feature = "cuda"))]
    Ok(Device::new_cuda(number)?)
}

/// An NVIDIA GPU, as its driver tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaGpu {
    /// What it is called.
    pub name: String,
    /// Its generation, such as 9 and 0.
    pub compute_capability: [i32; 2],
    /// Bytes of its memory.
    pub memory: usize,
}

/// The NVIDIA GPUs that the driver shows, by their numbers; none is opened for that. Empty in a build without the feature `cuda`.
///
/// # Errors
/// [`ErrorKind::Device`](crate::ErrorKind::Device) with the driver's code if it does not answer.
pub fn cuda_gpus() -> Result<Vec<CudaGpu>> {
    #[cfg(feature = "cuda")]
    return cuda::gpus();
    #[cfg(not(feature = "cuda"))]
    Ok(Vec::new())
}

/// Which versions meet: each part must be for the same CUDA, and the driver for that or a newer one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CudaVersions {
    /// The newest CUDA that the driver serves, major and minor.
    pub driver: Option<[usize; 2]>,
    /// The CUDA that this build's kernels were compiled by.
    pub build: Option<[usize; 2]>,
    /// The CUDA of the compiler of kernels that was found, NVRTC.
    pub compiler: Option<[usize; 2]>,
    /// cuDNN, major, minor and patch.
    pub cudnn: Option<[usize; 3]>,
    /// The CUDA that cuDNN was made for.
    pub cudnn_for: Option<[usize; 2]>,
}

/// The versions of this build and of the libraries that it found; nothing is opened for that. What is not built in is none.
pub fn cuda_versions() -> CudaVersions {
    #[cfg(feature = "cuda")]
    return cuda::versions();
    #[cfg(not(feature = "cuda"))]
    CudaVersions::default()
}

/// Gives the driver all memory of a GPU back that was freed, for the program keeps it otherwise; other devices have nothing to give.
pub(crate) fn release_memory(device: &Device) -> Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::release(device),
        _ => Ok(()),
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda_backend::cudarc::driver::{result, sys};
    use candle_core::cuda_backend::cudarc::nvrtc;
    use candle_core::cuda_backend::{CudaDevice, kernels};
    use candle_core::{Device, Error};

    use super::{CudaGpu, CudaVersions};
    use crate::Result;

    pub(super) fn open(number: usize) -> Result<Device> {
        let device = CudaDevice::new_with_stream(number)?;
        // The bindings of cuBLAS and cuRAND panic when a handle of theirs cannot be taken down, as after a failure of the GPU, and would
        // hide what failed. The last of this device never goes; the driver takes all down with the program.
        std::mem::forget(device.clone());
        // SAFETY: all work on tensors goes to the one stream of this device. The engine records graphs on a second stream, which holds
        // nothing but work that is launched on the first one later.
        unsafe { device.disable_event_tracking() };
        keep_freed_memory(&device)?;
        try_compiler(&device)?;
        Ok(Device::Cuda(device))
    }

    /// Compiles a kernel that does nothing and gives it to the driver, which refuses what a newer compiler than itself has made: the engine's
    /// kernels would be refused in the middle of the work.
    fn try_compiler(device: &CudaDevice) -> Result<()> {
        let nothing = nvrtc::compile_ptx("extern \"C\" __global__ void nothing() {}").map_err(Error::wrap)?;
        device.cuda_stream().context().load_module(nothing).map_err(Error::wrap)?;
        Ok(())
    }

    /// Lets the GPU's default pool hold on to what is freed, however much it is.
    fn keep_freed_memory(device: &CudaDevice) -> Result<()> {
        let Some(pool) = pool(device)? else { return Ok(()) };
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let mut most = u64::MAX;
        // SAFETY: the pool is the GPU's own, and this attribute is a number of 64 bits.
        unsafe { result::mem_pool::set_attribute(pool, threshold, (&raw mut most).cast()) }.map_err(Error::wrap)?;
        Ok(())
    }

    pub(super) fn release(device: &CudaDevice) -> Result<()> {
        device.cuda_stream().synchronize().map_err(Error::wrap)?;
        let Some(pool) = pool(device)? else { return Ok(()) };
        // SAFETY: the pool is the GPU's own.
        unsafe { result::mem_pool::trim_to(pool, 0) }.map_err(Error::wrap)?;
        Ok(())
    }

    /// The GPU's default pool; none where memory comes from the driver each time.
    fn pool(device: &CudaDevice) -> Result<Option<sys::CUmemoryPool>> {
        let stream = device.cuda_stream();
        let context = stream.context();
        if !context.has_async_alloc() {
            return Ok(None);
        }
        context.bind_to_thread().map_err(Error::wrap)?;
        // SAFETY: the GPU is the context's own, and its default pool lives as long as it.
        Ok(Some(unsafe { result::device::get_default_mem_pool(context.cu_device()) }.map_err(Error::wrap)?))
    }

    pub(super) fn gpus() -> Result<Vec<CudaGpu>> {
        use sys::CUdevice_attribute::{
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
        };
        result::init().map_err(Error::wrap)?;
        let count = result::device::get_count().map_err(Error::wrap)?;
        let gpu = |number| {
            let gpu = result::device::get(number)?;
            // SAFETY: the driver has just given this GPU.
            let number_of = |attribute| unsafe { result::device::get_attribute(gpu, attribute) };
            // SAFETY: as above.
            let memory = unsafe { result::device::total_mem(gpu) }?;
            let compute_capability = [number_of(MAJOR)?, number_of(MINOR)?];
            Ok(CudaGpu { name: result::device::get_name(gpu)?, compute_capability, memory })
        };
        Ok((0..count).map(gpu).collect::<Result<_, result::DriverError>>().map_err(Error::wrap)?)
    }

    pub(super) fn versions() -> CudaVersions {
        let mut driver = 0;
        // SAFETY: the driver writes one number, and needs no start for that.
        let driver = unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result().is_ok().then_some(driver);
        let driver = driver.and_then(|version| usize::try_from(version).ok()).filter(|version| *version > 0);
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the compiler writes two numbers.
        let answer = unsafe { nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result();
        let compiler = answer.ok().and_then(|()| Some([usize::try_from(major).ok()?, usize::try_from(minor).ok()?]));
        CudaVersions { driver: driver.map(of_cuda), build: named(kernels::FILL.ptx()), compiler, ..cudnn() }
    }

    #[cfg(feature = "cudnn")]
    fn cudnn() -> CudaVersions {
        use candle_core::cuda_backend::cudarc::cudnn::result::{get_cudart_version, get_version};
        let cudnn = get_version();
        // The one that is linked is 9 or newer; what stands in for it says less.
        if cudnn < 90_000 {
            return CudaVersions::default();
        }
        let cudnn = [cudnn / 10_000, cudnn / 100 % 100, cudnn % 100];
        CudaVersions { cudnn: Some(cudnn), cudnn_for: Some(of_cuda(get_cudart_version())), ..CudaVersions::default() }
    }

    #[cfg(not(feature = "cudnn"))]
    fn cudnn() -> CudaVersions {
        CudaVersions::default()
    }

    /// 13000 is 13.0.
    fn of_cuda(version: usize) -> [usize; 2] {
        [version / 1000, version % 1000 / 10]
    }

    /// The release that NVIDIA's compiler writes above what it makes.
    fn named(text: &str) -> Option<[usize; 2]> {
        let (_, after) = text.lines().take(10).find_map(|line| line.split_once("compilation tools, release "))?;
        let (major, minor) = after.split(',').next()?.split_once('.')?;
        Some([major.parse().ok()?, minor.parse().ok()?])
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn versions_are_read_as_nvidia_writes_them() {
            let text = "//\n// Cuda compilation tools, release 13.0, V13.0.88\n// Based on NVVM 7.0.1\n.version 9.0";
            assert_eq!((named(text), named(".version 9.0")), (Some([13, 0]), None));
            assert_eq!((of_cuda(12_080), of_cuda(13_000)), ([12, 8], [13, 0]));
        }
    }
}
