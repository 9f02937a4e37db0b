//! `mrpf results`: the networks of a comparison, chosen, sorted, and in another format.

use mrpf_api::{Error, ErrorKind, Result};

use super::Console;
use crate::cli::{ResultsArgs, ResultsFormat};
use crate::comparison::query::{Query, runs};
use crate::comparison::tables::{FlatTable, Value, csv, flat_json, flat_parquet, flat_text};
use crate::files::write_output;
use crate::safe_text::terminal;

/// What a table shows where no columns are asked for, beside what the grid varies and reasons of failures.
const MAIN: [&str; 9] = [
    "method",
    "seed",
    "macs_kept",
    "params_kept",
    "clean_accuracy",
    "robust_accuracy",
    "robust_drop",
    "class",
    "failure",
];

/// Prints or writes what is asked for.
pub fn results(args: &ResultsArgs, console: &Console<'_>) -> Result<()> {
    let query = Query { conditions: args.conditions.clone(), sort: args.sort.clone(), columns: args.columns.clone() };
    let found = runs(&args.dir, &query)?;
    // Whoever looks at a file with a table in it does so at a terminal.
    let table = |found: &FlatTable| terminal(&flat_text(found)).into_owned().into_bytes();
    let bytes = match args.format {
        ResultsFormat::Table if args.columns.is_empty() => table(&main_columns(found)),
        ResultsFormat::Table => table(&found),
        ResultsFormat::Csv => csv(&found)?,
        ResultsFormat::Json => flat_json(&found)?.into_bytes(),
        ResultsFormat::Parquet => flat_parquet(&found)?,
    };
    match &args.out {
        Some(path) => {
            let mut bytes = bytes;
            if matches!(args.format, ResultsFormat::Table | ResultsFormat::Json) {
                bytes.push(b'\n');
            }
            write_output(path, &bytes)
        }
        None if args.format == ResultsFormat::Parquet => {
            let error = Error::new(ErrorKind::Settings, "--format parquet, which is no text for a terminal");
            Err(error.hint("name a file with --out FILE"))
        }
        None => {
            (console.print)(String::from_utf8_lossy(&bytes).trim_end_matches('\n'));
            Ok(())
        }
    }
}

/// The columns that people look at first: those of [`MAIN`], and what the grid varies behind the method. Dense networks have no method:
/// there their names stand in its place. Of the reasons for failures nothing is shown where nothing failed.
fn main_columns(mut found: FlatTable) -> FlatTable {
    let at = |name: &str| found.columns.iter().position(|column| column.name == name);
    let (method, name, seed, failure) = (at("method"), at("name"), at("seed"), at("failure"));
    let varied = match (method, seed) {
        (Some(method), Some(seed)) => method + 1..seed,
        _ => 0..0,
    };
    let has_failures = failure.is_some_and(|failure| found.rows.iter().any(|row| row[failure] != Value::Null));
    let mut shown = Vec::new();
    for main in MAIN {
        if main == "failure" && !has_failures {
            continue;
        }
        shown.extend(at(main));
        if main == "method" {
            shown.extend(varied.clone());
        }
    }
    if let (Some(method), Some(name)) = (method, name) {
        for row in &mut found.rows {
            if row[method] == Value::Null {
                row[method] = row[name].clone();
            }
        }
    }
    FlatTable {
        columns: shown.iter().map(|&at| found.columns[at].clone()).collect(),
        rows: found.rows.iter().map(|row| shown.iter().map(|&at| row[at].clone()).collect()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::sample::{sample, sample_with_a_failure};
    use crate::comparison::{Findings, write_results};
    use crate::device::OpenDevice;
    use crate::event::Silent;
    use mrpf_api::context::Unwatched;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use std::path::Path;
    use std::sync::Mutex;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn asked(dir: &Path, format: ResultsFormat, out: Option<&Path>) -> ResultsArgs {
        let (conditions, columns, out) = (vec!["kind=pruned".into()], Vec::new(), out.map(Path::to_owned));
        ResultsArgs { dir: dir.into(), conditions, sort: Some("robust_accuracy:desc".into()), columns, format, out }
    }

    fn printed(args: &ResultsArgs) -> Result<String> {
        let text = Mutex::new(String::new());
        let print = |line: &str| text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(line);
        let console = Console {
            events: &Silent,
            watcher: &Unwatched,
            print: &print,
            arguments: &[],
            plugin_files: &[],
            refused: &[],
            device: &OpenDevice::default(),
            command: "results",
        };
        results(args, &console)?;
        Ok(text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }

    fn written(findings: &Findings) -> std::result::Result<tempfile::TempDir, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write_results(findings, folder.path())?;
        Ok(folder)
    }

    #[test]
    fn a_table_shows_the_main_columns_and_why_a_row_is_missing() -> Outcome {
        let folder = written(&sample_with_a_failure()?)?;
        let args =
            ResultsArgs { conditions: Vec::new(), sort: None, ..asked(folder.path(), ResultsFormat::Table, None) };
        insta::assert_snapshot!(printed(&args)?);
        let whole = written(&sample()?)?;
        assert!(!printed(&asked(whole.path(), ResultsFormat::Table, None))?.contains("failure"));
        Ok(())
    }

    #[test]
    fn every_format_holds_the_same_rows() -> Outcome {
        let folder = written(&sample_with_a_failure()?)?;
        let of = |format| printed(&asked(folder.path(), format, None));
        let list: serde_json::Value = serde_json::from_str(&of(ResultsFormat::Json)?)?;
        let list = list.as_array().ok_or("a list")?;
        let table = of(ResultsFormat::Csv)?;
        let mut reader = ::csv::Reader::from_reader(table.as_bytes());
        let names = reader.headers()?.clone();
        let records = reader.records().collect::<std::result::Result<Vec<_>, _>>()?;
        let file = folder.path().join("deeper/rows.parquet");
        assert_eq!(printed(&asked(folder.path(), ResultsFormat::Parquet, Some(&file)))?, "");
        let parquet = SerializedFileReader::new(std::fs::File::open(&file)?)?;
        let rows = parquet.get_row_iter(None)?.collect::<parquet::errors::Result<Vec<_>>>()?;
        assert_eq!((list.len(), records.len(), rows.len()), (11, 11, 11));
        for ((object, record), row) in list.iter().zip(&records).zip(rows) {
            for ((name, text), (column, field)) in names.iter().zip(record).zip(row.into_columns()) {
                assert_eq!(name, column);
                let (json, parquet) = match field {
                    Field::Null => (serde_json::Value::Null, String::new()),
                    Field::Str(text) => (text.as_str().into(), text),
                    Field::Long(number) => (number.into(), number.to_string()),
                    Field::Double(number) => (number.into(), number.to_string()),
                    other => panic!("{name}: {other}"),
                };
                assert_eq!((&object[name], text), (&json, parquet.as_str()), "{name}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_file_of_bytes_is_not_printed() -> Outcome {
        let folder = written(&sample()?)?;
        let error = printed(&asked(folder.path(), ResultsFormat::Parquet, None)).expect_err("no text");
        assert_eq!(error.hint_text(), Some("name a file with --out FILE"));
        let file = folder.path().join("rows.csv");
        assert_eq!(printed(&asked(folder.path(), ResultsFormat::Csv, Some(&file)))?, "");
        let text = std::fs::read_to_string(&file)?;
        assert_eq!(text.trim_end(), printed(&asked(folder.path(), ResultsFormat::Csv, None))?);
        Ok(())
    }
}
