//! Figures that are the same on every machine.

/// The number with twelve significant digits.
///
/// Distributions go through the system's logarithm and exponential, whose last bits differ from system to system.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}
