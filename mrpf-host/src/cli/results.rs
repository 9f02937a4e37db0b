//! Arguments of `mrpf results`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to show of a comparison.
#[derive(Debug, Args)]
pub struct ResultsArgs {
    /// The directory of the comparison.
    pub dir: PathBuf,
    /// Only networks with this value, for example method=l1-norm-uniform, or compared by !=, <, <=, >, >=; may be given several times,
    /// and then all must hold. With nothing behind the sign: only those without a value.
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub conditions: Vec<String>,
    /// Sort by this column, smallest first, or largest first with :desc behind it.
    #[arg(long, value_name = "COLUMN[:desc]")]
    pub sort: Option<String>,
    /// Show these columns, with commas between them; when not given, the main ones in a table and all in other formats.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// How they are written.
    #[arg(long, value_enum, default_value = "table")]
    pub format: ResultsFormat,
    /// Write to this file in place of the terminal.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResultsFormat {
    /// A table for people.
    Table,
    /// Comma-separated values.
    Csv,
    /// A JSON list with an object for each network.
    Json,
    /// A Parquet file, for pandas, polars and the like.
    Parquet,
}
