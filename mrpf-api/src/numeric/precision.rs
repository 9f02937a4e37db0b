//! In which numbers things are computed, where a device leaves a choice.

use candle_core::{DType, Device, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;

/// Tensors as f64, for figures that are read, compared or summed up.
pub trait InF64 {
    /// The tensor in f64, on its own device if that has such numbers, else on the CPU: Metal has none.
    fn in_f64(&self) -> Result<Tensor>;
}

impl InF64 for Tensor {
    fn in_f64(&self) -> Result<Tensor> {
        match self.device() {
            Device::Metal(_) => Ok(self.to_device(&Device::Cpu)?.to_dtype(DType::F64)?),
            _ => Ok(self.to_dtype(DType::F64)?),
        }
    }
}

/// Off at first: results agree with those of other devices to f32's 7 digits.
static TF32: AtomicBool = AtomicBool::new(false);

/// Lets products of f32 on CUDA be computed in TF32, with 10 bits behind the point in place of 23, by cuDNN and by cuBLAS.
pub fn allow_tf32(is_allowed: bool) {
    TF32.store(is_allowed, Ordering::Relaxed);
    #[cfg(feature = "cuda")]
    candle_core::cuda::set_gemm_reduced_precision_f32(is_allowed);
}

/// Whether products of f32 on CUDA may be computed in TF32.
pub fn is_tf32_allowed() -> bool {
    TF32.load(Ordering::Relaxed)
}
