//! What is written about a comparison: one set of figures as report, table, and data for programs.

pub(super) mod comparison;
mod csv;
pub(super) mod document;
mod figures;
pub(super) mod flat;
mod flat_formats;
mod json;
mod latex;
mod markdown;
pub(super) mod report;
mod terminal;
#[cfg(test)]
mod tests;
mod versions;

pub use self::csv::csv;
pub use flat::{FlatColumn, FlatTable, Kind, Value};
pub use flat_formats::{flat_json, flat_parquet, flat_text};
pub use json::{ComparisonResults, ComparisonRow};
pub use terminal::comparison_table;
pub use versions::{PluginVersion, Versions};

use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;

use super::database::write_database;
use super::findings::Findings;
use super::statistics::Statistics;
use crate::files::write_atomically;

/// Writes what was found: `report.md` and `report.tex` for people, `results.csv`, `results.json` and `results.sqlite` for
/// programs.
///
/// The same findings give the same bytes: times and other figures that differ from machine to machine are not in them.
///
/// # Errors
/// [`ErrorKind::Io`] if a file cannot be written.
pub fn write_results(findings: &Findings, directory: &Path) -> Result<()> {
    let statistics = Statistics::of(findings);
    let report = report::report(findings, &statistics)?;
    write_atomically(&directory.join("report.md"), markdown::markdown(&report).as_bytes())?;
    write_atomically(&directory.join("report.tex"), latex::latex(&report).as_bytes())?;
    let flat = FlatTable::new(findings, &statistics);
    write_atomically(&directory.join("results.csv"), &csv::csv(&flat)?)?;
    let json = serde_json::to_string_pretty(&ComparisonResults::new(findings, &statistics))
        .map_err(|error| Error::new(ErrorKind::Io, format!("the results cannot be written as JSON: {error}")))?;
    write_atomically(&directory.join("results.json"), format!("{json}\n").as_bytes())?;
    write_database(findings, &flat, directory)
}
