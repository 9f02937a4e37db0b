//! Evaluation: clean and robust accuracy, image by image, with signs of false robustness, curves and latency.

mod cascade;
mod curves;
mod journal;
mod latency;
mod left_out;
mod outcome;
mod outcome_table;
mod parts;
mod progress;
mod robustness;
mod signs;

pub use curves::{Curves, EpsilonPoint, StepsPoint};
pub use journal::{AttackedBatch, Journal};
pub use latency::{LATENCY_BATCH, Latency, measure_latency, median_pass_ms};
pub use left_out::LeftOut;
pub use outcome::{AttackRecord, AttackedImage, ClassRecord, Evaluation, ImageOutcome, PartRecord};
pub use outcome_table::outcome_table;
pub(crate) use outcome_table::{parquet_column, parquet_properties};
pub use robustness::evaluate;
pub use signs::Sign;
pub(crate) use signs::robust_overfitting;

#[cfg(test)]
mod tests;
