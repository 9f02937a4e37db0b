//! The element types that the operations here compute in, and how they reach into tensors.

use candle_core::{CpuStorage, DType, Device, Layout, Shape, Storage, Tensor, WithDType};
use std::cell::Cell;

/// Values per piece of elementwise work: enough that handing it to another thread is worth it.
pub(super) const PIECE: usize = 1 << 14;

/// `f32` or `f64`.
pub(crate) trait Float: WithDType + Default + std::ops::Neg<Output = Self> {
    /// e to the power of it.
    fn exp(self) -> Self;

    /// Runs `work` on at least `length` values of memory that this thread keeps from call to call; what they hold is
    /// unspecified.
    fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [Self]) -> R) -> R;
}

macro_rules! float {
    ($float:ty) => {
        impl Float for $float {
            fn exp(self) -> Self {
                <$float>::exp(self)
            }

            fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [Self]) -> R) -> R {
                thread_local! {
                    static KEPT: Cell<Vec<$float>> = const { Cell::new(Vec::new()) };
                }
                // Taken out for the time of the work, so that a nested call finds an empty buffer and not this one.
                let mut buffer = KEPT.take();
                if buffer.len() < length {
                    buffer.resize(length, 0.0);
                }
                let result = work(&mut buffer[..length]);
                KEPT.set(buffer);
                result
            }
        }
    };
}

float!(f32);
float!(f64);

/// Whether the operations here compute on this tensor themselves; everything else is left to Candle's own operations.
pub(crate) fn is_native(x: &Tensor) -> bool {
    #[cfg(test)]
    if super::composition::is_forced() {
        return false;
    }
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// The values of a contiguous tensor inside [`candle_core::CustomOp1::cpu_fwd`] and its siblings.
pub(super) fn values<'a, T: Float>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a tensor of shape {:?} is not contiguous", layout.shape())
    };
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// Runs `work` on the values of a tensor, copying them first if they are not contiguous.
pub(super) fn read<T: Float, R>(
    x: &Tensor,
    work: impl FnOnce(&[T]) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => work(values(storage, layout)?),
        _ => candle_core::bail!("a tensor on {:?}, expected one on the CPU", x.device().location()),
    }
}

/// A tensor on the CPU, without a gradient, from values in row-major order.
pub(super) fn tensor<T: Float>(values: Vec<T>, shape: impl Into<Shape>) -> candle_core::Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Applies `$run::<f32>` or `$run::<f64>`, whichever the tensor holds; only for tensors that [`is_native`] accepts.
macro_rules! for_dtype {
    ($x:expr, $T:ident => $run:expr) => {
        match $x.dtype() {
            candle_core::DType::F64 => {
                type $T = f64;
                $run
            }
            _ => {
                type $T = f32;
                $run
            }
        }
    };
}
pub(super) use for_dtype;

/// Sum of `term(a, b)` over two slices of one length: in lanes, so that it vectorises, and in f64 across short blocks.
///
/// The order of the additions is fixed, hence so is the result.
pub(super) fn sum_of<T: Float>(a: &[T], b: &[T], term: impl Fn(T, T) -> T) -> f64 {
    const BLOCK: usize = 512;
    const LANES: usize = 16;
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [T::zero(); LANES];
        let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        for (a, b) in a_lanes.remainder().iter().zip(b_lanes.remainder()) {
            total += term(*a, *b).to_f64();
        }
        for (a, b) in a_lanes.zip(b_lanes) {
            for lane in 0..LANES {
                lanes[lane] += term(a[lane], b[lane]);
            }
        }
        total += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
    }
    total
}
