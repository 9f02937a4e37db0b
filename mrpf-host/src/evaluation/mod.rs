//! Evaluation: clean and robust accuracy, image by image, with signs of false robustness and latency.

mod latency;
mod robustness;
mod signs;

pub use latency::{Latency, measure_latency};
pub use robustness::{AttackRecord, Evaluation, ImageOutcome, evaluate};
pub use signs::warning_signs;
