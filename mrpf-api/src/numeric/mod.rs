//! The operations that networks and losses are made of, each with a gradient that is checked against finite differences.
//!
//! Candle's own pooling, fused softmax and layer norm have wrong or missing gradients; no network of mrpf uses them.

mod batch_norm;
mod conv;
mod geometry;
mod linear;
pub mod loss;
mod normalize;

mod pool;
mod relu;

pub use batch_norm::{BatchStatistics, batch_norm_eval, batch_norm_train};
pub use conv::conv2d;
pub use geometry::{ConvGeometry, PoolGeometry};
pub use linear::linear;
pub use normalize::normalize;
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d, pad_shortcut};
pub use relu::{gelu, relu, silu};
