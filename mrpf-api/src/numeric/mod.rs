//! The operations that networks and losses are made of, each with a gradient that is checked against finite
//! differences.
//!
//! Candle's own pooling, fused softmax and layer norm have wrong or missing gradients; no network of mrpf uses them.
//! On the CPU, operations of this module compute no gradient for an argument that is not tracked, which is what makes attack
//! steps cheap; on other devices, where they are composed of Candle's operations, that holds for convolutions and linear layers. Their
//! gradients are constants: a second derivative through them does not exist.

mod attached;
mod attention;
mod augment;
mod batch_norm;
#[cfg(test)]
mod composition;
mod conv;
mod float;
mod gemm;
mod geometry;
#[cfg(test)]
mod gradient_check;
mod layer_norm;
mod linear;
pub mod loss;
mod normalize;
mod patches;
mod pool;
mod precision;
mod relu;
mod resize;
mod sgd;
mod silu;
#[cfg(test)]
mod tests;

/// What the attack engine shares with the operations here.
pub(crate) mod kernel {
    pub(crate) use super::attention::AttentionRows;
    #[cfg(test)]
    pub(crate) use super::composition::by_composition;
    #[cfg(feature = "cudnn")]
    pub(crate) use super::conv::cudnn_calls;
    #[cfg(test)]
    pub(crate) use super::conv::tests::count_weight_gradient;
    pub(crate) use super::float::{Float, is_native};
    pub(crate) use super::gemm::{Matrix, Onto, product};
    pub(crate) use super::layer_norm::LayerNormRows;
    pub(crate) use super::resize::interpolation;

    /// Runs `work` on the numbers of an f32 tensor on the CPU, in row-major order.
    pub(crate) fn read<R>(
        x: &candle_core::Tensor,
        work: impl FnOnce(&[f32]) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        super::float::read(x, work)
    }

    /// The same for f32 and f64.
    pub(crate) fn read_floats<T: Float, R>(
        x: &candle_core::Tensor,
        work: impl FnOnce(&[T]) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        super::float::read(x, work)
    }

    /// Runs `work` on at least `length` numbers of memory that this thread keeps; what they hold is unspecified.
    pub(crate) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
        super::float::Float::with_scratch(length, work)
    }
}

pub use attention::attention;
pub use augment::{Variation, VariationGround, augment, can_augment_on, free_memory};
pub use batch_norm::{BatchStatistics, batch_norm_eval, batch_norm_train};
pub use conv::conv2d;
pub use geometry::{ConvGeometry, PoolGeometry};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use normalize::normalize;
pub use patches::{fold, unfold};
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d, pad_shortcut};
pub use precision::{InF64, Precision, allow_tf32, is_deterministic, is_tf32_allowed, require_determinism};
pub use relu::{gelu, relu, relu6};
pub use resize::resize;
pub use sgd::{SgdParameter, SgdStep, sgd_together};
pub use silu::silu;
