//! Batches of an evaluation kept as they are finished, so that one that is killed goes on where it was.

use mrpf_api::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::outcome::AttackedImage;
use crate::files::{failed, open_inside, read_if_there, write_atomically};

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
    /// What the batches depend on: a journal of other settings or another network is not continued.
    fingerprint: String,
}

impl Journal {
    /// Opens a journal to go on with it; one with another fingerprint, or none at all, begins anew.
    ///
    /// A line that a killed process left half written is dropped.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] with the path and the system's reason.
    pub fn open(path: &Path, fingerprint: &str) -> Result<Self> {
        let text = read_if_there(path)?.unwrap_or_default();
        let header = Header { fingerprint: fingerprint.to_owned() };
        let mut lines = text.split(|&byte| byte == b'\n');
        let known = lines.next().and_then(|line| serde_json::from_slice::<Header>(line).ok());
        let mut batches = Vec::new();
        if known.as_ref() == Some(&header) {
            batches.extend(lines.map_while(|line| serde_json::from_slice::<AttackedBatch>(line).ok()));
        }
        let mut whole = line(path, &header)?;
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

fn line(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value).map_err(|error| failed("write", path, &error.into()))?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(images: &[usize]) -> AttackedBatch {
        let outcome = AttackedImage { survives: true, loss: Some(0.1 + 0.2), distance: 1.0 / 3.0, broken_by: None };
        let outcomes = vec![outcome; images.len()];
        AttackedBatch { attack: "a".into(), part: "b".into(), images: images.to_vec(), outcomes }
    }

    #[test]
    fn what_is_kept_is_found_again_but_for_half_a_line() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::open(&path, "one")?;
        journal.keep(batch(&[0, 1]))?;
        journal.keep(batch(&[2]))?;
        drop(journal);
        let whole = std::fs::read(&path)?;
        // Killed at any byte: whole lines stay, and what is written next follows them.
        for cut in (0..=whole.len()).rev().step_by(5) {
            std::fs::write(&path, &whole[..cut])?;
            let mut journal = Journal::open(&path, "one")?;
            let known: Vec<usize> = journal.known("a", "b").into_keys().collect();
            assert!([vec![], vec![0, 1], vec![0, 1, 2]].contains(&known), "{cut}: {known:?}");
            journal.keep(batch(&[7]))?;
            drop(journal);
            let journal = Journal::open(&path, "one")?;
            assert_eq!(journal.known("a", "b").len(), known.len() + 1);
            assert!(journal.known("a", "b").values().all(|&outcome| *outcome == batch(&[7]).outcomes[0]));
            assert!(journal.known("a", "other").is_empty());
        }
        Ok(())
    }

    #[test]
    fn a_journal_of_something_else_begins_anew() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("journal.jsonl");
        Journal::open(&path, "one")?.keep(batch(&[0]))?;
        assert!(Journal::open(&path, "two")?.known("a", "b").is_empty());
        assert!(Journal::open(&path, "one")?.known("a", "b").is_empty());
        Ok(())
    }
}
