//! Opening a GPU the way that everything here expects it.

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
    use candle_core::cuda_backend::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};
    use candle_core::{Device, Error};

    use crate::Result;

    pub(super) fn open(number: usize) -> Result<Device> {
        let device = CudaDevice::new_with_stream(number)?;
        // SAFETY: all work on tensors goes to the one stream of this device. The engine records graphs on a second stream, which holds
        // nothing but work that is launched on the first one later.
        unsafe { device.disable_event_tracking() };
        keep_freed_memory(&device)?;
        // The bindings of cuBLAS and cuRAND panic when a handle of theirs cannot be taken down, as after a failure of the GPU, and would
        // hide what failed. The last of this device never goes; the driver takes all down with the program.
        std::mem::forget(device.clone());
        Ok(Device::Cuda(device))
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
}
