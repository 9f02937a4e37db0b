//! Networks: the declaration, the weights that fill it, the forward pass, and the saved form.

mod builder;
mod classifier;
mod declaration;
mod file;
mod fold;
mod forward;
mod initialise;
mod parameters;
mod suffix;
mod weights;

pub use builder::Builder;
pub use classifier::{Classifier, FrozenNetwork, InputGradient, LossOnLogits};
pub use declaration::{BatchNorm, Conv2d, Declaration, INPUT, Layer, LayerKind, Linear, Shape, Wiring};
pub use file::{FORMAT_VERSION, tensors_from_bytes, tensors_to_bytes};
pub use forward::Mode;
pub use initialise::initial_parameters;
pub use parameters::{TensorSpec, parameter_specs, statistic_specs};
pub use suffix::Suffix;
pub use weights::{Network, Weights};
