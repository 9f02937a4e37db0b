//! In which numbers things are computed, where a device leaves a choice.

use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
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

/// In which numbers a network whose weights are f32 is computed on an NVIDIA GPU. Sums are in f32 always, and so are weights,
/// statistics, losses and the optimiser.
///
/// On other devices everything is computed in f32, whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits, as on the CPU.
    #[default]
    F32,
    /// Factors of products rounded to 11 bits; values are stored in f32.
    Tf32,
    /// Values and factors rounded to 8 bits, with the range of f32: half the memory, the fastest of all.
    Bf16,
    /// Values and factors rounded to 11 bits, with little range: gradients are scaled by a constant on the way back.
    F16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::Tf32, Self::Bf16, Self::F16];
        all.into_iter().find(|one| one.to_string() == text).ok_or_else(|| "expected f32, tf32, bf16 or f16".into())
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

/// Off at first: algorithms are chosen for speed, and some add up in the order in which parts of a GPU are done.
static DETERMINISTIC: AtomicBool = AtomicBool::new(false);

/// Lets only such algorithms be chosen on CUDA that give the same bytes every time on the same GPU, with the same libraries.
///
/// That is a matter of cuDNN alone, some of whose gradients are summed by whichever part of the GPU is done first. Candle 0.11.1 needs no
/// other way: its `index_add` and `scatter_add`, which the gradients of `index_select` and `gather` go by, give each place of the result
/// to one thread that adds in order; its sums, means and extremes go by trees of fixed shape; its kernels that add atomically (`sum_*` in
/// `reduce.cu`, `chunk_sum`) are started by none of its operations. cuBLAS gives the same bytes as long as its handle works on one stream,
/// which [`open_cuda`](crate::device::open_cuda) sees to.
pub fn require_determinism(is_required: bool) {
    DETERMINISTIC.store(is_required, Ordering::Relaxed);
}

/// Whether the same bytes are asked for every time.
pub fn is_deterministic() -> bool {
    DETERMINISTIC.load(Ordering::Relaxed)
}
