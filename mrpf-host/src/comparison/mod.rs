//! Comparisons: a grid of runs that share what they can, and what is found in it.

mod collect;
mod findings;
mod forecast;
mod grid;
mod job;
mod plan;
mod rehearsal;
#[cfg(test)]
pub(crate) mod sample;
mod schedule;
mod stage;
pub mod statistics;
mod store;
mod work;

pub use collect::collect;
pub use findings::{Axis, DenseFinding, Failure, Finding, Findings, Place};
pub use forecast::{Forecast, ForecastRow, KeptOf};
pub use grid::{Cell, Grid};
pub use plan::{Plan, PlannedDense, PlannedRow};
pub use schedule::{Limits, Schedule, Tally};
pub use stage::{Ground, Stage, Work, data_digest};
pub use store::{Done, Store};
pub use work::work;
