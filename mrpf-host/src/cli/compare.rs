//! Arguments of `mrpf compare`.

use clap::Args;
use std::path::PathBuf;

use super::{DeviceArgs, Shared};

/// A grid to compute.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Experiment files with a `grid`, each laid over the ones before it; the built-in experiment when none is given.
    #[arg(value_name = "GRID")]
    pub grid: Vec<PathBuf>,
    /// Processes at a time, on each GPU where several are named; when not given, as many as there are threads, and on a GPU one. The
    /// results do not depend on it.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Memory for all processes together, for example 8G; four fifths of what is free when not given.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<u64>,
    /// Only show what would be computed: networks, kept channels, costs, and how long it would take.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Shared,
}

/// A stage of a comparison.
#[derive(Debug, Args)]
pub struct StageArgs {
    /// The stage's directory.
    pub dir: PathBuf,
    /// Threads for computations.
    #[arg(long)]
    pub threads: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
}

/// `8G`, `500M`, `1000000`: a number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.trim().to_ascii_uppercase().trim_end_matches('B') {
        text if text.ends_with('G') => (text.trim_end_matches('G').to_owned(), 1e9),
        text if text.ends_with('M') => (text.trim_end_matches('M').to_owned(), 1e6),
        text if text.ends_with('K') => (text.trim_end_matches('K').to_owned(), 1e3),
        text => (text.to_owned(), 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * factor) as u64),
        _ => Err(format!("found `{text}`, expected a size such as 8G or 500M")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("8G"), Ok(8_000_000_000));
        assert_eq!(bytes("1.5 gb"), Ok(1_500_000_000));
        assert_eq!((bytes("500M"), bytes("2000")), (Ok(500_000_000), Ok(2000)));
        for wrong in ["", "G", "-1G", "nan", "8T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
