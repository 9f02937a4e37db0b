//! The outcome of every image under every attack as a Parquet table, for pandas, polars and the like.

use mrpf_api::attack::ThreatModel;
use mrpf_api::{Error, ErrorKind, Result};
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

use super::outcome::{AttackedImage, Evaluation, ImageOutcome};

/// One row for each image and attack. `attacked` is false, and what follows it unknown, where the clean image is wrong already.
const SCHEMA: &str = "message outcomes {
    required int32 image;
    required int32 label;
    required int32 predicted;
    required binary attack (string);
    required binary norm (string);
    required double epsilon;
    required boolean attacked;
    required boolean survives;
    optional binary broken_by (string);
    optional double loss;
    optional double distance;
}";

/// The table as the bytes of a Parquet file; the same for the same evaluation.
///
/// # Errors
/// [`ErrorKind::Io`] if the library refuses to write it.
pub fn outcome_table(evaluation: &Evaluation, threat: &ThreatModel) -> Result<Vec<u8>> {
    write(evaluation, threat)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the outcomes cannot be written as Parquet: {error}")))
}

fn write(evaluation: &Evaluation, threat: &ThreatModel) -> parquet::errors::Result<Vec<u8>> {
    let rows: Vec<(&ImageOutcome, &str, Option<&AttackedImage>)> = evaluation
        .attacks
        .iter()
        .enumerate()
        .flat_map(|(at, attack)| {
            let of = move |outcome| (outcome, attack.name.as_str(), attacked(outcome, at));
            evaluation.outcomes.iter().map(of)
        })
        .collect();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(parquet_properties()))?;
    let mut group = file.next_row_group()?;
    let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    let attacked = || rows.iter().map(|(_, _, attacked)| *attacked);

    parquet_column::<Int32Type>(&mut group, rows.iter().map(|(outcome, ..)| Some(outcome.index as i32)))?;
    parquet_column::<Int32Type>(&mut group, rows.iter().map(|(outcome, ..)| Some(outcome.label as i32)))?;
    parquet_column::<Int32Type>(&mut group, rows.iter().map(|(outcome, ..)| Some(outcome.predicted as i32)))?;
    parquet_column::<ByteArrayType>(&mut group, rows.iter().map(|(_, attack, _)| Some(text(attack))))?;
    parquet_column::<ByteArrayType>(&mut group, rows.iter().map(|_| Some(text(threat.norm.name()))))?;
    parquet_column::<DoubleType>(&mut group, rows.iter().map(|_| Some(threat.epsilon.value())))?;
    parquet_column::<BoolType>(&mut group, attacked().map(|attacked| Some(attacked.is_some())))?;
    parquet_column::<BoolType>(
        &mut group,
        attacked().map(|attacked| Some(attacked.is_some_and(|image| image.survives))),
    )?;
    parquet_column::<ByteArrayType>(&mut group, attacked().map(|attacked| attacked?.broken_by.as_deref().map(text)))?;
    parquet_column::<DoubleType>(&mut group, attacked().map(|attacked| attacked?.loss))?;
    parquet_column::<DoubleType>(&mut group, attacked().map(|attacked| attacked.map(|image| image.distance)))?;
    group.close()?;
    file.into_inner()
}

fn attacked(outcome: &ImageOutcome, attack: usize) -> Option<&AttackedImage> {
    outcome.attacks.get(attack).and_then(Option::as_ref)
}

/// How all tables are written: the same bytes for the same rows.
pub(crate) fn parquet_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(format!("mrpf version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::UNCOMPRESSED)
        .build()
}

/// Writes the next column of the schema; `None` is only for optional ones.
pub(crate) fn parquet_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: impl Iterator<Item = Option<T::T>>,
) -> parquet::errors::Result<()> {
    let values: Vec<Option<T::T>> = values.collect();
    // Level 1 is a value, level 0 is none; required columns have no levels and ignore them.
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let present: Vec<T::T> = values.into_iter().flatten().collect();
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(&present, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use std::io::Write;

    #[test]
    fn what_is_written_is_read_back() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let attacked = |survives, broken_by: Option<&str>| AttackedImage {
            survives,
            loss: survives.then_some(0.25),
            distance: 1.0 / 3.0,
            broken_by: broken_by.map(str::to_owned),
        };
        let record = |name: &str| super::super::outcome::AttackRecord {
            remarks: Vec::new(),
            name: name.into(),
            means: mrpf_api::attack::AttackMeans::Gradients,
            survivors: 1,
            nearest: false,
            parts: Vec::new(),
        };
        let outcome = |index, attacks| ImageOutcome { index, label: 3, predicted: 3, attacks };
        let evaluation = Evaluation {
            images: 2,
            clean: 1,
            robust: 0,
            attacks: vec![record("pgd"), record("autoattack")],
            outcomes: vec![
                outcome(0, vec![Some(attacked(true, None)), Some(attacked(false, Some("apgd-ce")))]),
                ImageOutcome { predicted: 4, ..outcome(1, vec![None, None]) },
            ],
            signs: Vec::new(),
            curves: None,
            left_out: Vec::new(),
        };
        let bytes = outcome_table(&evaluation, &ThreatModel::default())?;
        assert_eq!(bytes, outcome_table(&evaluation, &ThreatModel::default())?);
        let mut file = tempfile::tempfile()?;
        file.write_all(&bytes)?;
        let reader = SerializedFileReader::new(file)?;
        let rows: Vec<Vec<Field>> = reader
            .get_row_iter(None)?
            .map(|row| row.map(|row| row.into_columns().into_iter().map(|(_, field)| field).collect()))
            .collect::<parquet::errors::Result<_>>()?;
        let text = |text: &str| Field::Str(text.into());
        let epsilon = Field::Double(8.0 / 255.0);
        let first = [Field::Int(0), Field::Int(3), Field::Int(3), text("pgd"), text("linf"), epsilon.clone()];
        let rest = [Field::Bool(true), Field::Bool(true), Field::Null, Field::Double(0.25), Field::Double(1.0 / 3.0)];
        assert_eq!(rows[0], [first.as_slice(), &rest].concat());
        assert_eq!(rows[1][6..], [Field::Bool(false), Field::Bool(false), Field::Null, Field::Null, Field::Null]);
        assert_eq!((&rows[2][3], &rows[2][8], &rows[2][9]), (&text("autoattack"), &text("apgd-ce"), &Field::Null));
        assert_eq!(rows.len(), 4);
        Ok(())
    }
}
