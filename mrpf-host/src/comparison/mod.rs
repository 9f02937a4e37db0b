//! Comparisons: a grid of runs that share what they can, and what is found in it.

mod collect;
mod database;
mod digests;
mod findings;
mod forecast;
mod grid;
mod job;
mod page;
mod plan;
pub mod query;
mod rehearsal;
#[cfg(test)]
pub(crate) mod sample;
mod schedule;
mod slots;
mod stage;
pub mod statistics;
mod store;
pub mod tables;
mod work;

pub use collect::collect;
pub use database::write_database;
pub use digests::{check_digest, write_digests};
pub use findings::{Axis, DenseFinding, Failure, Finding, Findings, Place};
pub use forecast::{Forecast, ForecastRow, KeptOf};
pub use grid::{Cell, Grid};
pub use page::write_page;
pub use plan::{Plan, PlannedDense, PlannedRow};
pub use schedule::{Limits, MakeProcess, Means, Schedule, Tally};
pub use stage::{Ground, Stage, Work};
pub use store::{Done, Store};
pub use tables::{comparison_table, write_results};
pub use work::work;
