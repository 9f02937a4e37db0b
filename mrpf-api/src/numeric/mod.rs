//! The operations that networks and losses are made of, each with a gradient that is checked against finite
//! differences.
//!
//! Candle's own pooling, fused softmax and layer norm have wrong or missing gradients; no network of mrpf uses them.
//! Operations of this module compute no gradient for an argument that is not tracked, which is what makes attack steps
//! cheap. Their gradients are constants: a second derivative through them does not exist.

mod batch_norm;
mod conv;
mod float;
mod gemm;
mod geometry;
#[cfg(test)]
mod gradient_check;
mod linear;
pub mod loss;
mod normalize;
mod pool;
mod relu;
#[cfg(test)]
mod tests;

pub use batch_norm::{BatchStatistics, batch_norm_eval, batch_norm_train};
pub use conv::conv2d;
pub use geometry::{ConvGeometry, PoolGeometry};
pub use linear::linear;
pub use normalize::normalize;
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d, pad_shortcut};
pub use relu::{gelu, relu, silu};
