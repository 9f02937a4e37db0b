//! `done/STAGE.json`: which stages of a run are done, what each was computed from, and the digests of the files that it left.
//!
//! The record is written last, so a stage without one is computed again, and a file is only computed with when its digest is right.

use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::sealed::{read_sealed, sealed};
use super::{RunDir, file_name};
use crate::files::{read_if_there, sha256};
use crate::stage_key::StageKey;

/// Where the records lie.
const FOLDER: &str = "done";

/// A stage that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct DoneStage {
    stage: String,
    key: StageKey,
    /// SHA-256 of each file, by its path below the run directory.
    files: BTreeMap<String, String>,
}

impl RunDir {
    /// Whether the stage is done, computed from what `key` says, and all its files are there.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if it was computed from something else; [`ErrorKind::Checkpoint`] if its record is damaged.
    pub fn is_done(&self, stage: &str, key: &StageKey) -> Result<bool> {
        match read_sealed::<DoneStage>(&self.done(stage))? {
            Some(done) if done.files.keys().all(|file| self.path.join(file).exists()) => {
                done.key.check(key, stage, &self.path)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Checks that the stage, if it is done, was computed from what `key` says, as far as that is known before the stages before it.
    ///
    /// # Errors
    /// As [`Self::is_done`].
    pub fn check_done(&self, stage: &str, key: &StageKey) -> Result<()> {
        match read_sealed::<DoneStage>(&self.done(stage))? {
            Some(done) => done.key.check_before_inputs(key, stage, &self.path),
            None => Ok(()),
        }
    }

    /// Notes that the stage is done and has left `files`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be read back or the record cannot be written.
    pub fn write_done(&self, stage: &str, key: &StageKey, files: &[PathBuf]) -> Result<()> {
        let hash = |path: &PathBuf| -> Result<(String, String)> {
            let bytes = read_if_there(path)?.ok_or_else(|| {
                Error::new(ErrorKind::Io, format!("{} is gone although it was just written", path.display()))
            })?;
            Ok((self.relative(path), sha256(&bytes)))
        };
        let files = files.iter().map(hash).collect::<Result<_>>()?;
        let path = self.done(stage);
        self.write(&path, &sealed(&path, &DoneStage { stage: stage.into(), key: key.clone(), files })?)
    }

    /// Reads a file that a stage of this run left; `None` if there is none, or its stage is not done.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if the file is not what the stage wrote.
    pub fn read_checked(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = read_if_there(path)? else { return Ok(None) };
        let Some(digests) = self.digests()? else { return Ok(Some(bytes)) };
        match digests.get(&self.relative(path)) {
            None => Ok(None),
            Some(written) if *written == sha256(&bytes) => Ok(Some(bytes)),
            Some(_) => Err(damaged(path)),
        }
    }

    /// The digests of all files of stages that are done; `None` for a run of a version that kept none.
    fn digests(&self) -> Result<Option<BTreeMap<String, String>>> {
        let Ok(entries) = std::fs::read_dir(self.path.join(FOLDER)) else { return Ok(None) };
        let mut digests = BTreeMap::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                digests.extend(read_sealed::<DoneStage>(&path)?.map(|done| done.files).unwrap_or_default());
            }
        }
        Ok(Some(digests))
    }

    fn done(&self, stage: &str) -> PathBuf {
        self.path.join(FOLDER).join(format!("{}.json", file_name(stage)))
    }
}

/// Checks the bytes of a file that the user named. If it lies in a run directory, they must be those that its stage wrote.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if they are not, or the run's records are damaged.
pub fn check_named_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let Some(run) = path.parent().and_then(|folder| RunDir::inspect(folder.parent()?).ok()) else { return Ok(()) };
    let written = run.digests()?.and_then(|digests| digests.get(&run.relative(path)).cloned());
    match written {
        Some(written) if written != sha256(bytes) => {
            Err(damaged(path).hint("if you changed it on purpose, copy it out of the run directory and name the copy"))
        }
        _ => Ok(()),
    }
}

fn damaged(path: &Path) -> Error {
    let message = format!("{} has changed since it was written: its SHA-256 is another", path.display());
    Error::new(ErrorKind::Checkpoint, message).hint("remove the file to have it computed anew")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_atomically;
    use serde_json::json;

    #[test]
    fn a_stage_is_done_with_its_key_and_files() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let run = RunDir::create(&folder.path().join("run"))?;
        let key = StageKey::default().with("prune", &json!({"ratio": 0.5}))?;
        let file = run.network("dense");
        assert!(!run.is_done("train dense", &key)?);
        run.write(&file, b"weights")?;
        run.write_done("train dense", &key, std::slice::from_ref(&file))?;
        assert!(run.is_done("train dense", &key)?);
        assert_eq!(run.read_checked(&file)?.as_deref(), Some(b"weights".as_slice()));
        let other = StageKey::default().with("prune", &json!({"ratio": 0.6}))?;
        let error = run.is_done("train dense", &other).expect_err("another ratio");
        assert!(error.to_string().ends_with("prune.ratio was 0.5 and is 0.6 now"), "{error}");
        // A file of a stage that is not done is as good as none.
        let half = run.network("half");
        run.write(&half, b"x")?;
        assert_eq!(run.read_checked(&half)?, None);
        write_atomically(&file, b"weighty")?;
        assert!(run.read_checked(&file).expect_err("damaged").to_string().contains("has changed since it was written"));
        std::fs::remove_file(&file)?;
        assert!(!run.is_done("train dense", &key)?, "what is gone is computed anew");
        Ok(())
    }

    #[test]
    fn a_file_that_the_user_names_is_checked_where_it_lies_in_a_run()
    -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let run = RunDir::create(&folder.path().join("run"))?;
        run.write_experiment(&crate::experiment::Experiment::default())?;
        let path = run.sensitivity("mrs");
        run.write(&path, b"[]")?;
        check_named_file(&path, b"anything")?;
        run.write_done("measure mrs", &StageKey::default(), std::slice::from_ref(&path))?;
        check_named_file(&path, b"[]")?;
        assert!(check_named_file(&path, b"[ ]").is_err());
        check_named_file(&folder.path().join("elsewhere.json"), b"anything")?;
        Ok(())
    }
}
