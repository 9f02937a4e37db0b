//! Data set `digits`: 1,797 real 8x8 images of handwritten digits, built into the program.
//!
//! The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
//! 1998, CC BY 4.0), in the form that scikit-learn ships; see `data/README.md`.

use flate2::read::GzDecoder;
use mrpf_api::prelude::*;
use std::io::Read;
use std::path::Path;

/// One image a line: 64 values from 0 to 16, row after row, then the label.
const FILE: &[u8] = include_bytes!("../data/digits.csv.gz");
const SHAPE: ImageShape = ImageShape { channels: 1, height: 8, width: 8 };
const CLASSES: usize = 10;
/// The value that means full ink.
const FULL: u8 = 16;
/// The last images are the test part: the file is ordered by writer, so other people wrote them.
const TEST: usize = 360;

/// `digits` has no settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

register_plugin! {
    kind: DataSet,
    name: "digits",
    summary: "1,797 handwritten digits, 8x8 grey, built in; needs no folder",
    source: "Alpaydin and Kaynak 1998, UCI Machine Learning Repository, CC BY 4.0",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Digits)),
}

struct Digits;

impl DataSource for Digits {
    fn load(&self, _directory: Option<&Path>) -> Result<LoadedData> {
        let mut text = Vec::new();
        GzDecoder::new(FILE)
            .read_to_end(&mut text)
            .map_err(|error| wrong(format!("not a complete gzip file: {error}")))?;
        let all = parse(&text)?;
        let split = all.len().saturating_sub(TEST);
        Ok(LoadedData {
            train: all.subset(&(0..split).collect::<Vec<_>>()),
            test: all.subset(&(split..all.len()).collect::<Vec<_>>()),
            class_names: (0..CLASSES).map(|class| class.to_string()).collect(),
            mean: vec![0.3054],
            std: vec![0.3755],
            mirror_keeps_class: false,
        })
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Data, message).context("reading the built-in digits")
}

fn parse(text: &[u8]) -> Result<ImageSet> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (line, record) in reader.records().enumerate() {
        let at = |why: String| wrong(format!("line {}: {why}", line + 1));
        let record = record.map_err(|error| at(error.to_string()))?;
        if record.len() != SHAPE.len() + 1 {
            return Err(at(format!("{} values, expected {} and a label", record.len(), SHAPE.len())));
        }
        for (column, value) in record.iter().enumerate() {
            let limit = if column < SHAPE.len() { usize::from(FULL) } else { CLASSES - 1 };
            // The file writes whole numbers with a decimal point.
            let number =
                value.trim().parse::<f64>().ok().filter(|v| v.fract() == 0.0 && (0.0..=limit as f64).contains(v));
            let number =
                number.ok_or_else(|| at(format!("column {}: `{value}`, expected 0 to {limit}", column + 1)))?;
            match column < SHAPE.len() {
                true => pixels.push(number as u8),
                false => labels.push(number as u32),
            }
        }
    }
    ImageSet::new(SHAPE, pixels, FULL, labels, CLASSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_images_are_there() -> Result<()> {
        let data = Digits.load(None)?;
        assert_eq!((data.train.len(), data.test.len()), (1437, 360));
        for class in 0..10 {
            let count = data.test.labels().iter().filter(|&&label| label == class).count();
            assert!((30..=40).contains(&count), "{count} test images of {class}");
        }
        Ok(())
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_training_part() -> Result<()> {
        let data = Digits.load(None)?;
        let values: Vec<f64> =
            (0..data.train.len()).flat_map(|i| data.train.pixels(i)).map(|&v| f64::from(v) / 16.0).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(
            (mean - data.mean[0]).abs() < 5e-5 && (variance.sqrt() - data.std[0]).abs() < 5e-5,
            "{mean} {}",
            variance.sqrt()
        );
        Ok(())
    }

    #[test]
    fn wrong_lines_are_named() {
        let line = |pixel: &str, label: &str| format!("{}{pixel},{label}\n", "0.0,".repeat(63));
        for (text, message) in [
            (line("17", "3"), "line 1: column 64: `17`, expected 0 to 16"),
            (line("3", "1") + &line("3", "10"), "line 2: column 65: `10`, expected 0 to 9"),
            (line("x", "1"), "line 1: column 64: `x`, expected 0 to 16"),
            ("1,2,3\n".into(), "line 1: 3 values, expected 64 and a label"),
        ] {
            let error = parse(text.as_bytes()).expect_err(message);
            assert_eq!(error.to_string(), format!("reading the built-in digits: {message}"));
        }
    }
}
