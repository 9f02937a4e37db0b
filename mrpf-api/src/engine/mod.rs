//! The engine: networks in f32 on the CPU, on values `[height, width, channel]`, with everything fused that saves a pass over memory.
//!
//! The declaration becomes a list of steps once (`plan`). Bias, shortcut and ReLU follow a convolution while its output is in a
//! register (`finish`); of a ReLU a bit for each value is kept; buffers are used again (`memory`). Convolutions go by Winograd's filtering
//! where that saves work (`winograd`), else as products whose rows are windows read in place (`direct`); both rest on `product`. Those with a
//! filter for each channel are sums of a few pixels (`depthwise`).
//! `frozen` is the attack engine, whose weights do not move: forward, and back to the images and no further, a few images at a time
//! (`stages`). `suffix` is the part of it that depends on one layer, for MRS. `training` has batch norm by
//! the batch and every gradient; steps without weights are the same in both (`plain`). Networks with other layers run by the operations of [`crate::numeric`].
//!
//! How work is divided hangs on sizes alone, so the results are the same bits at any number of threads.

mod concat;
mod convolution;
#[cfg(feature = "cudnn")]
pub(crate) mod cuda;
mod depthwise;
mod direct;
mod elementwise;
mod finish;
mod frozen;
mod memory;
mod operation;
mod pass;
mod places;
mod plain;
mod plan;
mod pool;
mod product;
mod smooth;
mod stages;
mod suffix;
mod tiles;
mod training;
mod transform;
mod vector;
mod weight_gradient;
mod winograd;

#[cfg(test)]
mod tests;

pub(crate) use frozen::{FrozenEngine, Trace};
pub(crate) use memory::Memory;
pub(crate) use operation::conv2d;
pub(crate) use plan::{Plan, PlanFor};
pub(crate) use suffix::{SuffixEngine, SuffixTrace};
pub(crate) use training::{Forward, TrainingPass, attach};
