//! Comparisons: a grid of runs that share what they can, and what is found in it.

mod findings;
#[cfg(test)]
pub(crate) mod sample;

pub use findings::{Axis, DenseFinding, Failure, Finding, Findings, Place};
