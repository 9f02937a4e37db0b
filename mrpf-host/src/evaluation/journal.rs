//! Batches of an evaluation kept as they are finished, so that one that is killed goes on where it was.

use mrpf_api::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::outcome::AttackedImage;
use crate::files::{failed, open_inside, read_if_there, sha256, write_atomically};
use crate::stage_key::StageKey;

/// What an attack, or a part of one, did to a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackedBatch {
    /// The attack's name.
    pub attack: String,
    /// The part's name; the attack's where it has none.
    pub part: String,
    /// Which images.
    pub images: Vec<usize>,
    /// What became of each.
    pub outcomes: Vec<AttackedImage>,
}

/// The batches that are done, on disk if they shall outlive the process.
#[derive(Debug, Default)]
pub struct Journal {
    open: Option<(PathBuf, File)>,
    batches: Vec<AttackedBatch>,
}

/// The first line of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    /// What the outcome of every image depends on.
    key: StageKey,
}

impl Journal {
    /// Opens the journal of the stage `stage` to go on with it, or begins one.
    ///
    /// A line that a killed process left half written is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if its batches were attacked with other settings, images or another network, with the differences;
    /// [`ErrorKind::Checkpoint`] if a line is not what was written; [`ErrorKind::Io`] with the path and the system's reason.
    pub fn open(path: &Path, key: &StageKey, stage: &str) -> Result<Self> {
        let text = read_if_there(path)?.unwrap_or_default();
        // What follows the last newline is half a line, or nothing.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole].split_inclusive(|&byte| byte == b'\n');
        let mut batches = Vec::new();
        if let Some(first) = lines.next() {
            let run = path.parent().and_then(Path::parent).unwrap_or(path);
            parsed::<Header>(path, first)?.key.check(key, stage, run)?;
            batches = lines.map(|line| parsed(path, line)).collect::<Result<_>>()?;
        }
        let mut whole = line(path, &Header { key: key.clone() })?;
        for batch in &batches {
            whole.extend(line(path, batch)?);
        }
        write_atomically(path, &whole)?;
        let file = open_inside(path, File::options().append(true))?;
        Ok(Self { open: Some((path.to_owned(), file)), batches })
    }

    /// What is known of the images that a part has attacked.
    pub fn known(&self, attack: &str, part: &str) -> BTreeMap<usize, &AttackedImage> {
        let batches = self.batches.iter().filter(|batch| batch.attack == attack && batch.part == part);
        batches.flat_map(|batch| batch.images.iter().copied().zip(&batch.outcomes)).collect()
    }

    /// Keeps a batch.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] with the path and the system's reason.
    pub fn keep(&mut self, batch: AttackedBatch) -> Result<()> {
        if let Some((path, file)) = &mut self.open {
            let line = line(path, &batch)?;
            file.write_all(&line).and_then(|()| file.sync_data()).map_err(|error| failed("write", path, &error))?;
        }
        self.batches.push(batch);
        Ok(())
    }
}

/// Characters of a line's digest.
const DIGEST: usize = 16;

/// A line: the beginning of the SHA-256 of what follows, a space, and JSON.
fn line(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_string(value).map_err(|error| failed("write", path, &error.into()))?;
    Ok(format!("{} {json}\n", &sha256(json.as_bytes())[..DIGEST]).into_bytes())
}

fn parsed<T: DeserializeOwned>(path: &Path, line: &[u8]) -> Result<T> {
    let damaged = || {
        let message = format!("{} is damaged: a line is not what was written", path.display());
        Error::new(ErrorKind::Checkpoint, message).hint("remove the file to attack these images anew")
    };
    let text = std::str::from_utf8(line).map_err(|_| damaged())?.trim_end_matches('\n');
    let (digest, json) = text.split_once(' ').ok_or_else(damaged)?;
    if digest.len() != DIGEST || !sha256(json.as_bytes()).starts_with(digest) {
        return Err(damaged());
    }
    serde_json::from_str(json).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(images: &[usize]) -> AttackedBatch {
        let outcome = AttackedImage { survives: true, loss: Some(0.1 + 0.2), distance: 1.0 / 3.0, broken_by: None };
        let outcomes = vec![outcome; images.len()];
        AttackedBatch { attack: "a".into(), part: "b".into(), images: images.to_vec(), outcomes }
    }

    fn key(epsilon: f64) -> Result<StageKey> {
        StageKey::default().with("evaluate.threat.epsilon", &epsilon)
    }

    /// Keeps two batches, and gives the bytes of the file.
    fn two_batches(path: &Path, key: &StageKey) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut journal = Journal::open(path, key, "attack")?;
        journal.keep(batch(&[0, 1]))?;
        journal.keep(batch(&[2]))?;
        Ok(std::fs::read(path)?)
    }

    #[test]
    fn what_is_kept_is_found_again_but_for_half_a_line() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (path, key) = (folder.path().join("evaluation/dense.journal"), key(0.1)?);
        let whole = two_batches(&path, &key)?;
        // Killed at any byte: whole lines stay, and what is written next follows them.
        for cut in (0..=whole.len()).rev().step_by(5) {
            std::fs::write(&path, &whole[..cut])?;
            let mut journal = Journal::open(&path, &key, "attack")?;
            let known: Vec<usize> = journal.known("a", "b").into_keys().collect();
            assert!([vec![], vec![0, 1], vec![0, 1, 2]].contains(&known), "{cut}: {known:?}");
            journal.keep(batch(&[7]))?;
            drop(journal);
            let journal = Journal::open(&path, &key, "attack")?;
            assert_eq!(journal.known("a", "b").len(), known.len() + 1);
            assert!(journal.known("a", "b").values().all(|&outcome| *outcome == batch(&[7]).outcomes[0]));
            assert!(journal.known("a", "other").is_empty());
        }
        Ok(())
    }

    #[test]
    fn a_flipped_bit_is_noticed() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (path, key) = (folder.path().join("evaluation/dense.journal"), key(0.1)?);
        let whole = two_batches(&path, &key)?;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                std::fs::write(&path, &flipped)?;
                // Without its newline the last line is one that was being written: it is dropped, and those images are attacked again.
                let last = at + 1 == whole.len();
                let read = Journal::open(&path, &key, "attack").map(|journal| journal.known("a", "b").len());
                assert!(if last { matches!(read, Ok(2)) } else { read.is_err() }, "byte {at}, bit {bit}: {read:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_journal_of_other_settings_is_refused() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("evaluation/dense.journal");
        Journal::open(&path, &key(0.1)?, "attack dense")?.keep(batch(&[0]))?;
        let error = Journal::open(&path, &key(0.3)?, "attack dense").expect_err("another radius");
        assert!(error.to_string().ends_with("evaluate.threat.epsilon was 0.1 and is 0.3 now"), "{error}");
        assert_eq!(Journal::open(&path, &key(0.1)?, "attack dense")?.known("a", "b").len(), 1, "it is kept");
        Ok(())
    }
}
