//! Allocations that look at layers and not at scores: `erk` at their shapes, `uniform-plus` at their places, `fixed` at their names.

mod densities;
mod erk;
mod fixed;
mod max_ratio;
mod pattern;
mod uniform_plus;

pub use densities::{LayerShape, erk_densities};
pub use erk::ErkSettings;
pub use fixed::{FixedSettings, Reading};
pub use uniform_plus::UniformPlusSettings;

#[cfg(test)]
mod tests;
