//! Networks: the declaration, the weights that fill it, the forward pass, and the saved form.

mod builder;
mod classifier;
mod declaration;
mod digest;
mod file;
mod fold;
mod foreign_file;
mod forward;
#[cfg(feature = "cudnn")]
mod gpu;
mod initialise;
mod layer_kind;
mod limits;
mod output_shape;
mod parameters;
mod shape;
mod suffix;
mod tokens;
mod weights;

pub use builder::Builder;
pub use classifier::{Classifier, FrozenNetwork, InputGradient, LossOnLogits};
pub use declaration::{Declaration, INPUT, Layer, Wiring};
pub use file::{FORMAT_VERSION, require_digest, tensors_from_bytes, tensors_to_bytes};
#[cfg(feature = "cudnn")]
pub(crate) use fold::{FoldedNorm, FoldedNorms};
pub use foreign_file::{ForeignFile, foreign_file};
pub use forward::Mode;
pub use initialise::initial_parameters;
pub use layer_kind::{BatchNorm, Conv2d, LayerKind, Linear};
pub use parameters::{TensorSpec, parameter_specs, statistic_specs};
pub use shape::{Shape, TokenShape};
pub use suffix::Suffix;
pub use tokens::{Attention, AttentionUnit, LayerNorm};
pub use weights::{Network, Weights};
