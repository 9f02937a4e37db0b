//! A flat table for people, as JSON and as Parquet.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use mrpf_api::{Error, ErrorKind, Result};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::sync::Arc;

use super::csv::plain;
use super::flat::{FlatTable, Kind, Value};
use crate::evaluation::{parquet_column, parquet_properties};

/// A table with box lines; what is not known is a dash.
pub fn flat_text(table: &FlatTable) -> String {
    let mut shown = Table::new();
    shown.load_style(UTF8_FULL_CONDENSED);
    shown.set_header(table.columns.iter().map(|column| &column.name));
    let cell = |value: &Value| match value {
        Value::Null => "-".into(),
        Value::Real(number) => format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        other => plain(other),
    };
    table.rows.iter().for_each(|row| {
        shown.add_row(row.iter().map(cell));
    });
    for (column, cells) in table.columns.iter().zip(shown.column_iter_mut()) {
        if column.kind != Kind::Text {
            cells.set_cell_alignment(CellAlignment::Right);
        }
    }
    shown.to_string()
}

/// A JSON list with an object for each row; what is not known is null.
///
/// # Errors
/// [`ErrorKind::Io`] if the library refuses to write it.
pub fn flat_json(table: &FlatTable) -> Result<String> {
    let value = |value: &Value| match value {
        Value::Null => serde_json::Value::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
    };
    let object = |row: &Vec<Value>| -> serde_json::Map<String, serde_json::Value> {
        table.columns.iter().zip(row).map(|(column, cell)| (column.name.clone(), value(cell))).collect()
    };
    serde_json::to_string_pretty(&table.rows.iter().map(object).collect::<Vec<_>>())
        .map_err(|error| Error::new(ErrorKind::Io, format!("the results cannot be written as JSON: {error}")))
}

/// The bytes of a Parquet file; every column may lack values.
///
/// # Errors
/// [`ErrorKind::Io`] if the library refuses to write it, or if a value is not of its column's kind.
pub fn flat_parquet(table: &FlatTable) -> Result<Vec<u8>> {
    parquet_bytes(table)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the results cannot be written as Parquet: {error}")))
}

fn parquet_bytes(table: &FlatTable) -> parquet::errors::Result<Vec<u8>> {
    let field = |column: &super::flat::FlatColumn| {
        let (physical, logical) = match column.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Integer => (Physical::INT64, None),
            Kind::Real => (Physical::DOUBLE, None),
        };
        Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let fields = table.columns.iter().map(field).collect::<parquet::errors::Result<Vec<_>>>()?;
    let schema = Arc::new(Type::group_type_builder("results").with_fields(fields).build()?);
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(parquet_properties()))?;
    let mut group = file.next_row_group()?;
    for (at, column) in table.columns.iter().enumerate() {
        let values = || table.rows.iter().map(|row| row.get(at).unwrap_or(&Value::Null));
        let wrong = |value: &Value| {
            let message = format!("found {value:?} in column `{}`, expected {:?}", column.name, column.kind);
            parquet::errors::ParquetError::General(message)
        };
        match column.kind {
            Kind::Text => {
                let values = values().map(|value| match value {
                    Value::Null => None,
                    other => Some(ByteArray::from(plain(other).into_bytes())),
                });
                parquet_column::<ByteArrayType>(&mut group, values)?;
            }
            Kind::Integer => {
                let values = values().map(|value| match value {
                    Value::Null => Ok(None),
                    Value::Integer(number) => Ok(Some(*number)),
                    other => Err(wrong(other)),
                });
                let values = values.collect::<parquet::errors::Result<Vec<_>>>()?;
                parquet_column::<Int64Type>(&mut group, values.into_iter())?;
            }
            Kind::Real => {
                let values = values().map(|value| match value {
                    Value::Null => Ok(None),
                    Value::Integer(number) => Ok(Some(*number as f64)),
                    Value::Real(number) => Ok(Some(*number)),
                    other => Err(wrong(other)),
                });
                let values = values.collect::<parquet::errors::Result<Vec<_>>>()?;
                parquet_column::<DoubleType>(&mut group, values.into_iter())?;
            }
        }
    }
    group.close()?;
    file.into_inner()
}
