//! Event files of TensorBoard: `tensorboard --logdir RUN/tensorboard`.
//!
//! Each training, measurement and attack is a run of its own there, so that their curves lie in one picture. The format is TensorFlow's
//! record file (length and data, each with a masked CRC-32C) of `tensorflow.Event` messages, of which only scalars are used.

use prost::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::{Event, EventSink};
use crate::run_dir::file_name;

/// `tensorflow.Event`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Record {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// Of the first record only: which format this is.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value` with a `simple_value`.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    // One of several kinds of value: a zero that is left out would be no value at all.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Writes what can be drawn over steps; what else happens is passed over.
pub struct TensorBoard {
    folder: PathBuf,
    files: Mutex<BTreeMap<String, File>>,
}

impl TensorBoard {
    /// Event files below `folder`, made when there is something to write. A session that goes on with a run adds files of its own,
    /// which TensorBoard joins.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: Mutex::default() }
    }

    fn write(&self, run: &str, step: i64, scalars: Vec<Scalar>) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !files.contains_key(run) {
            let mut file = self.create(run)?;
            let first = Record { wall_time: now(), file_version: Some("brain.Event:2".into()), ..Record::default() };
            append(&mut file, &first)?;
            files.insert(run.to_owned(), file);
        }
        match files.get_mut(run) {
            None => Ok(()),
            Some(file) => {
                let summary = Some(Summary { value: scalars });
                append(file, &Record { wall_time: now(), step, summary, ..Record::default() })
            }
        }
    }

    /// A new file; TensorBoard takes files of one run in the order of their names.
    fn create(&self, run: &str) -> io::Result<File> {
        // `prune l1-norm, ratio 0.5, seed 1` lies in folders within one another, so that a part of a comparison can be looked at alone.
        let folder = parts(run).map(file_name).fold(self.folder.clone(), |folder, part| folder.join(part));
        std::fs::create_dir_all(&folder)?;
        let seconds = now() as u64;
        let name =
            |number: u32| folder.join(format!("events.out.tfevents.{seconds}.mrpf.{}.{number}", std::process::id()));
        let mut number = 0;
        loop {
            match File::options().create_new(true).append(true).open(name(number)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                result => return result,
            }
        }
    }
}

impl EventSink for TensorBoard {
    fn send(&self, event: Event) {
        if matches!(event, Event::Progress { .. } | Event::Downloading { .. }) {
            return;
        }
        let Ok(value) = serde_json::to_value(&event) else { return };
        let (run, told) = match event {
            // In a comparison every stage is a run.
            Event::JobTold { stage, told } => (Some(stage), told),
            _ => (None, value),
        };
        if let Some((own, step, scalars)) = scalars(&told) {
            // A curve that cannot be written is no reason to throw a training away.
            let _ = self.write(&run.unwrap_or(own), step, scalars);
        }
    }
}

/// The parts of a stage's name; settings of a plugin, in parentheses, stay together.
fn parts(run: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let apart = move |letter: char| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    };
    run.split(apart).map(str::trim_start)
}

/// The run that an event belongs to, its step, and what is drawn.
fn scalars(event: &Value) -> Option<(String, i64, Vec<Scalar>)> {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let named = |pairs: &[(&str, &str)]| -> Vec<Scalar> {
        pairs.iter().filter_map(|(tag, key)| Some(scalar(tag, event[*key].as_f64()?))).collect()
    };
    match event["event"].as_str()? {
        "epoch" => Some((
            text("stage"),
            event["epoch"].as_i64()?,
            named(&[
                ("loss/train", "loss"),
                ("accuracy/train", "train_accuracy"),
                ("accuracy/held-out clean", "holdout_clean"),
                ("accuracy/held-out robust", "holdout_robust"),
                ("training/learning rate", "learning_rate"),
                ("training/images per second", "images_per_s"),
                ("training/GPU busy", "gpu_busy"),
            ]),
        )),
        "evaluated" => {
            let when = if event["when"] == "pruned" { "as cut" } else { "in the end" };
            let mut all = Vec::new();
            for (what, key) in [("clean", "clean_accuracy"), ("robust", "robust_accuracy")] {
                all.push(scalar(&format!("test/{what} {when}"), event[key].as_f64()?));
            }
            for attack in event["attacks"].as_array()? {
                let name = attack["name"].as_str().unwrap_or_default();
                all.push(scalar(&format!("test/{name} {when}"), attack["robust_accuracy"].as_f64()?));
            }
            Some((format!("attack {}", text("row")), 0, all))
        }
        "pruned" => Some((
            format!("prune {}", text("row")),
            0,
            named(&[
                ("pruning/asked", "ratio_asked"),
                ("pruning/gone", "ratio_achieved"),
                ("pruning/MACs", "macs_after"),
            ]),
        )),
        "sensitivity-measured" => {
            let modules = event["modules"].as_array()?;
            let each = modules
                .iter()
                .filter_map(|pair| Some(scalar(&format!("sensitivity/{}", pair[0].as_str()?), pair[1].as_f64()?)));
            Some((format!("measure {}", text("metric")), 0, each.collect()))
        }
        _ => None,
    }
}

fn scalar(tag: &str, value: f64) -> Scalar {
    Scalar { tag: tag.into(), simple_value: Some(value as f32) }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// One record: length, its checksum, data, its checksum. Written at once, so that a reader finds whole records.
fn append(file: &mut File, record: &Record) -> io::Result<()> {
    let data = record.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(data.len() + 16);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&masked(&length).to_le_bytes());
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(&masked(&data).to_le_bytes());
    file.write_all(&bytes)
}

/// The checksum as record files have it: rotated and shifted, so that a checksum of data with checksums in it is none too.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn epoch(epoch: usize, loss: f64) -> Event {
        Event::Epoch {
            stage: "train dense".into(),
            epoch,
            epochs: 2,
            learning_rate: 0.1,
            loss,
            train_accuracy: 0.5,
            holdout_clean: None,
            holdout_robust: Some(0.25),
            images_per_s: 100.0,
            gpu_busy: None,
            seconds: 1.0,
            best: true,
        }
    }

    /// The records of a file, each checked against its checksums.
    fn read(path: &Path) -> std::result::Result<Vec<Record>, Box<dyn std::error::Error>> {
        let bytes = std::fs::read(path)?;
        let (mut rest, mut records) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let (sum, after) = after.split_at(4);
            assert_eq!(u32::from_le_bytes(sum.try_into()?), masked(length));
            let (data, after) = after.split_at(u64::from_le_bytes(length.try_into()?) as usize);
            let (sum, after) = after.split_at(4);
            assert_eq!(u32::from_le_bytes(sum.try_into()?), masked(data));
            records.push(Record::decode(data)?);
            rest = after;
        }
        Ok(records)
    }

    fn only_file(folder: &Path) -> std::result::Result<PathBuf, Box<dyn std::error::Error>> {
        let files: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        assert_eq!(files.len(), 1);
        Ok(files[0].clone())
    }

    #[test]
    fn epochs_become_curves() -> Outcome {
        let folder = tempfile::tempdir()?;
        let sink = TensorBoard::new(folder.path());
        sink.send(epoch(1, 2.0));
        sink.send(Event::Progress {
            what: "x".into(),
            done: 1,
            total: 2,
            loss: None,
            accuracy: None,
            images_per_s: None,
            gpu_busy: None,
        });
        sink.send(epoch(2, 1.5));
        let records = read(&only_file(&folder.path().join("train+dense"))?)?;
        assert_eq!(records[0].file_version.as_deref(), Some("brain.Event:2"));
        let loss = |record: &Record| {
            let scalars = &record.summary.as_ref().expect("a summary").value;
            scalars.iter().find(|scalar| scalar.tag == "loss/train").map(|scalar| (record.step, scalar.simple_value))
        };
        let losses: Vec<_> = records[1..].iter().map(loss).collect();
        assert_eq!(losses, [Some((1, Some(2.0))), Some((2, Some(1.5)))]);
        let tags = &records[1].summary.as_ref().expect("a summary").value;
        assert!(tags.iter().any(|scalar| scalar.tag == "accuracy/held-out robust"));
        assert!(!tags.iter().any(|scalar| scalar.tag == "accuracy/held-out clean"), "there was none");
        Ok(())
    }

    #[test]
    fn a_stage_of_a_comparison_is_a_run_of_its_own_name() -> Outcome {
        let folder = tempfile::tempdir()?;
        let sink = TensorBoard::new(folder.path());
        let told = serde_json::to_value(epoch(1, 2.0))?;
        sink.send(Event::JobTold { stage: "prune l1, seed 1".into(), told });
        let progress = serde_json::json!({"event": "progress", "what": "x", "done": 1, "total": 2});
        sink.send(Event::JobTold { stage: "attack l1, seed 1".into(), told: progress });
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        only_file(&folder.path().join("prune+l1").join("seed+1"))?;
        Ok(())
    }

    #[test]
    fn the_checksum_is_the_masked_one() {
        // From the format's own tests: the mask of CRC-32C, whose value for these nine digits is the standard's.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
