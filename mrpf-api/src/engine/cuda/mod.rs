//! The engine on NVIDIA GPUs, for networks that [`Plan`](super::Plan) knows and whose weights are f32.
//!
//! Values are `[batch, pixel, channel]` with the channels padded by zeros to a multiple of 8, in the type that
//! [`Precision`](crate::numeric::Precision) says. Convolutions are cuDNN's, with bias, shortcut and ReLU in the same call; everything else are kernels of our own
//! (`kernels.cu`), compiled when first used. A pass whose sizes were seen before is a recorded graph (`queue`), which the GPU runs by
//! itself: starting kernels one by one from the program takes longer than most of them run.

mod attention;
mod augment;
mod convolution;
mod depthwise;
mod filters;
mod frozen;
mod fused;
mod gpu;
mod gradients;
mod layer_norm;
mod memory;
mod operation;
mod pass;
mod plain;
mod queue;
mod random;
mod rows;
mod training;

pub(crate) use augment::Varied;
pub(crate) use frozen::CudaFrozen;
pub(crate) use fused::{ascend_linf, cross_entropy, kl_divergence, sgd};
pub(crate) use gpu::{Gpu, cuda_device};
pub(crate) use operation::attach;
pub(crate) use random::{normal, uniform};
pub(crate) use training::{TrainingHome, TrainingRun, Wanted};
