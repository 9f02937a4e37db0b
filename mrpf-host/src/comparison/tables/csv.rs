//! `results.csv`: all networks in full precision, for spreadsheets and data frames.

use mrpf_api::{Error, ErrorKind, Result};

use super::flat::{FlatTable, Value};

/// The table as comma-separated values; what is not known is empty.
///
/// # Errors
/// [`ErrorKind::Io`] if the library refuses to write it.
pub fn csv(table: &FlatTable) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Io, format!("the results cannot be written as CSV: {error}"))
    };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns.iter().map(|column| &column.name)).map_err(|error| failed(&error))?;
    for row in &table.rows {
        writer.write_record(row.iter().map(plain)).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
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
