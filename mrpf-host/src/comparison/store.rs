//! A comparison on disk: one directory for each stage, named by the stage's key, and the results beside them.
//!
//! ```text
//! comparison.toml        the resolved settings of the last call
//! metrics.jsonl          what happened, call by call
//! stages/KEY             a run directory for each stage: settings, networks, outcomes; done.json when it is complete
//! report.html, report.md, report.tex, results.csv, results.json, results.sqlite
//! SHA256SUMS             digests of these
//! ```

use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::stage::Stage;
use crate::experiment::Experiment;
use crate::files::{failed, is_unfinished, remove_if_there, write_atomically};
use crate::run_dir::{RunDir, check_present, lock, read_sealed, sealed};

/// The directory of a comparison, locked for this process where it computes.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    lock: Option<File>,
}

/// What is noted when a stage is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// How long it took, in the process that ended it.
    pub seconds: f64,
    /// Threads that it used.
    pub threads: usize,
    /// Where it computed.
    #[serde(default)]
    pub device: String,
}

/// Whether something else than a comparison stands at `path`. What a call leaves that was killed before it wrote `comparison.toml` is
/// in nobody's way.
fn occupied(path: &Path) -> Result<bool> {
    if !path.is_dir() {
        return Ok(path.exists());
    }
    let list = |path: &Path| -> Result<Vec<std::ffi::OsString>> {
        let names = std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        names.map_err(|error| failed("read", path, &error))
    };
    let names = list(path)?;
    let is_begun = |name: &std::ffi::OsString| -> Result<bool> {
        Ok(name == ".lock" || is_unfinished(name) || (name == "stages" && list(&path.join(name))?.is_empty()))
    };
    for name in &names {
        if !is_begun(name)? {
            return Ok(!names.iter().any(|name| name == "comparison.toml"));
        }
    }
    Ok(false)
}

/// What is noted when a stage could not be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// What went wrong, as it was told.
    pub reason: String,
}

impl Store {
    /// Makes the directory, or opens the one that an earlier call made.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if something else stands there, or another process works in it.
    pub fn open(path: &Path) -> Result<Self> {
        if occupied(path)? {
            let what = match (path.is_file(), path.join("experiment.toml").is_file()) {
                (true, _) => "is a file, expected a directory",
                (false, true) => "holds a single run",
                (false, false) => "exists already, and is no comparison",
            };
            return Err(Error::new(ErrorKind::Io, format!("{} {what}", path.display()))
                .hint("name another directory with --out; a comparison goes on in the directory that it has made"));
        }
        std::fs::create_dir_all(path.join("stages")).map_err(|error| failed("make", path, &error))?;
        let store = Self { lock: Some(lock(path)?), path: path.to_owned() };
        crate::files::remove_unfinished(path)?;
        Ok(store)
    }

    /// Opens a comparison to read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is none.
    pub fn inspect(path: &Path) -> Result<Self> {
        match path.join("comparison.toml").is_file() {
            true => Ok(Self { path: path.to_owned(), lock: None }),
            false => {
                let message = format!("{} is no comparison: it has no comparison.toml in it", path.display());
                Err(Error::new(ErrorKind::Io, message).hint("name a directory that `mrpf compare` made"))
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the directory is still the one that was opened.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it was removed, renamed or replaced.
    pub fn check_present(&self) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), |lock| check_present(lock, &self.path))
    }

    /// Writes the settings of this call.
    pub fn write_experiment(&self, experiment: &Experiment) -> Result<()> {
        write_atomically(&self.path.join("comparison.toml"), experiment.to_toml()?.as_bytes())
    }

    /// The directory of a stage.
    pub fn stage(&self, key: &str) -> PathBuf {
        self.path.join("stages").join(key)
    }

    /// The directory of a stage, to read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is none.
    pub fn read(&self, key: &str) -> Result<RunDir> {
        RunDir::inspect(&self.stage(key))
    }

    /// What was noted of a stage that is complete.
    pub fn done(&self, key: &str) -> Result<Option<Done>> {
        read_sealed(&self.stage(key).join("done.json"))
            .map_err(|error| error.hint(format!("remove the directory stages/{key} to have it computed anew")))
    }

    /// What was noted of a stage that failed.
    pub fn failure(&self, key: &str) -> Result<Option<Failed>> {
        read_sealed(&self.stage(key).join("failed.json"))
    }

    /// Notes that a stage failed.
    pub fn write_failure(&self, key: &str, reason: &str) -> Result<()> {
        let path = self.stage(key).join("failed.json");
        write_atomically(&path, &sealed(&path, &Failed { reason: reason.into() })?)
    }

    /// Makes the directory of a stage, with what its process needs to know; a failure of before is forgotten.
    pub fn prepare(&self, stage: &Stage) -> Result<()> {
        self.check_present()?;
        let folder = self.stage(&stage.key);
        remove_if_there(&folder.join("failed.json"))?;
        let task = folder.join("task.json");
        write_atomically(&task, &sealed(&task, &stage.work)?)?;
        write_atomically(&folder.join("experiment.toml"), stage.experiment.to_toml()?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_something_else_is_left_alone() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("other");
        std::fs::create_dir(&path)?;
        drop(Store::open(&path)?);
        std::fs::write(path.join("mine.txt"), "x")?;
        let error = Store::open(&path).map(drop).expect_err("no comparison");
        assert!(error.to_string().ends_with("exists already, and is no comparison"), "{error}");
        assert!(Store::inspect(&path).is_err());
        Ok(())
    }

    #[test]
    fn a_call_that_was_killed_at_its_first_files_takes_no_place() -> std::result::Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("comparison");
        drop(Store::open(&path)?);
        std::fs::write(path.join(".mrpf-unfinished-a"), "half")?;
        drop(Store::open(&path)?);
        assert!(!path.join(".mrpf-unfinished-a").exists());
        Ok(())
    }

    #[test]
    fn one_process_at_a_time() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path())?;
        store.write_experiment(&Experiment::default())?;
        let error = Store::open(folder.path()).map(drop).expect_err("locked");
        assert!(error.to_string().contains("another mrpf is working in"), "{error}");
        Store::inspect(folder.path())?;
        Ok(())
    }
}
