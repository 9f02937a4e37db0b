//! Attacks that look for the nearest misclassified image: `deepfool`, `fmn` and `cw-l2`.
//!
//! They know nothing of a ball while they look. An image counts as broken if the misclassified image that they find is within the ball,
//! and leaves as soon as one is; images that keep their class within the ball are given back as they were.

mod cw;
mod deepfool;
mod fmn;
mod found;

pub use cw::CwSettings;
pub use deepfool::DeepFoolSettings;
pub use fmn::FmnSettings;

#[cfg(test)]
mod tests;
