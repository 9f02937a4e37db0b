//! `results.csv`: all networks in full precision, for spreadsheets and data frames.

use mrpf_api::{Error, ErrorKind, Result};

use super::flat::{FlatTable, Value};
use crate::safe_text::csv as safe;

/// The table as comma-separated values; what is not known is empty.
///
/// # Errors
/// [`ErrorKind::Io`] if the library refuses to write it.
pub fn csv(table: &FlatTable) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Io, format!("the results cannot be written as CSV: {error}"))
    };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer
        .write_record(table.columns.iter().map(|column| safe(&column.name).into_owned()))
        .map_err(|error| failed(&error))?;
    for row in &table.rows {
        writer.write_record(row.iter().map(cell)).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// Only text can be taken for a formula; a number below zero is one.
fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => safe(text).into_owned(),
        Value::Null | Value::Integer(_) | Value::Real(_) => plain(value),
    }
}

/// A value as text; of nothing none.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
    }
}
