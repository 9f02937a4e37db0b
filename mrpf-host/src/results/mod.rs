//! Results: one row for each network, as a file for programs and as tables for people.

mod interval;
mod report;
mod row;
mod table;

pub use interval::wilson;
pub use report::report_markdown;
pub use row::{AttackResult, Results, Row};
pub use table::comparison_table;

#[cfg(test)]
mod tests;
