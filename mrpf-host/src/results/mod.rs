//! Results: one row for each network, as a file for programs and as tables for people.

mod attacked;
mod interval;
mod report;
mod row;
mod table;

pub use attacked::{AttackedNetwork, ClassResult, CurvePoint, CurveResults, SignAt};
pub use interval::wilson;
pub use report::report_markdown;
pub use row::{AttackResult, PartResult, Results, Row};
pub use table::comparison_table;

#[cfg(test)]
mod tests;
