//! Memory of a GPU that is used again: asking the driver for it costs more than most kernels.

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream};
use std::sync::{Arc, Mutex, PoisonError};

use super::gpu::address;
use crate::Result;

/// Buffers that wait to be used again. Work of a GPU is ordered by its stream: whoever takes a buffer writes it after all that was
/// started before has read it.
#[derive(Debug, Default)]
pub(crate) struct DeviceMemory {
    waiting: Mutex<Vec<CudaSlice<u8>>>,
    /// Whether what waits is read and written by graphs, which know the places only.
    is_recorded: bool,
}

/// Bytes on a GPU that go back when dropped. What fresh ones hold is unspecified.
#[derive(Debug)]
pub(crate) struct DeviceBuffer {
    slice: Option<CudaSlice<u8>>,
    memory: Arc<DeviceMemory>,
}

impl DeviceMemory {
    /// Memory of one pass, which may be recorded: it keeps all its buffers for as long as the pass is there.
    pub fn of_pass() -> Self {
        Self { is_recorded: true, ..Self::default() }
    }

    /// At least so many bytes: a buffer that waits, or a new one.
    ///
    /// Sizes come in classes, and only a buffer of the same class is taken: whatever asks for the same buffers in the same order as
    /// before then finds them all, which a pass that is being recorded rests on. When the GPU has no more, what waits is given back and it is
    /// asked once again, but for memory of a pass.
    pub fn take(self: &Arc<Self>, stream: &Arc<CudaStream>, bytes: usize) -> Result<DeviceBuffer> {
        let bytes = class(bytes);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let slice = match waiting.iter().rposition(|buffer| buffer.len() == bytes) {
            Some(at) => waiting.swap_remove(at),
            None => {
                // SAFETY: bytes have no invalid values, and every taker writes before it reads.
                let fresh = unsafe { stream.alloc::<u8>(bytes) };
                match fresh {
                    Ok(slice) => slice,
                    Err(_) if !waiting.is_empty() && !self.is_recorded => {
                        waiting.clear();
                        stream.synchronize().map_err(candle_core::Error::wrap)?;
                        // SAFETY: as above.
                        unsafe { stream.alloc::<u8>(bytes) }.map_err(candle_core::Error::wrap)?
                    }
                    Err(error) => return Err(candle_core::Error::wrap(error).into()),
                }
            }
        };
        Ok(DeviceBuffer { slice: Some(slice), memory: self.clone() })
    }
}

/// The size of the class that so many bytes belong to: at most an eighth more.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(256);
    bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(256))
}

impl DeviceBuffer {
    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.slice.as_ref().map_or(0, address)
    }

    pub fn len(&self) -> usize {
        self.slice.as_ref().map_or(0, CudaSlice::len)
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if let Some(slice) = self.slice.take() {
            self.memory.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(slice);
        }
    }
}

impl DeviceMemory {
    /// Gives back what waits.
    pub fn give_back(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
