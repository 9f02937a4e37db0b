//! A comparison on disk: one directory for each stage, named by the stage's key, and the results beside them.
//!
//! ```text
//! comparison.toml        the resolved settings of the last call
//! metrics.jsonl          what happened, call by call
//! stages/KEY             a run directory for each stage: settings, networks, outcomes; done.json when it is complete
//! report.html, report.md, results.json, results.csv, results.sqlite, tables.tex
//! ```

use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::stage::Stage;
use crate::experiment::Experiment;
use crate::files::{failed, read_if_there, remove_if_there, sha256, write_atomically};
use crate::run_dir::{RunDir, lock, read_json, write_json};

/// The directory of a comparison, locked for this process where it computes.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    _lock: Option<File>,
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
    /// SHA-256 of the files of its networks, by their names.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
}

impl Done {
    /// Checks that the network `name` in the stage's directory is the one that was there when the stage was done.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if its file has changed.
    pub fn check(&self, stage: &RunDir, name: &str) -> Result<()> {
        let Some(before) = self.networks.get(name) else { return Ok(()) };
        let path = stage.network(name);
        match read_if_there(&path)?.map(|bytes| sha256(&bytes)) {
            Some(now) if now != *before => {
                let message = format!("{} has changed since it was written: it is damaged", path.display());
                Err(Error::new(ErrorKind::Checkpoint, message))
            }
            _ => Ok(()),
        }
    }
}

/// SHA-256 of those files of networks that are in a stage's directory.
pub(super) fn hashes(stage: &RunDir, names: &[&str]) -> Result<BTreeMap<String, String>> {
    let hash = |name: &&str| -> Result<Option<(String, String)>> {
        Ok(read_if_there(&stage.network(name))?.map(|bytes| ((*name).to_owned(), sha256(&bytes))))
    };
    names.iter().filter_map(|name| hash(name).transpose()).collect()
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
        let entries = std::fs::read_dir(path).map(|mut entries| entries.next().is_some());
        let occupied = path.is_file() || entries.is_ok_and(|any| any);
        if occupied && !path.join("comparison.toml").is_file() {
            let what = match (path.is_file(), path.join("experiment.toml").is_file()) {
                (true, _) => "is a file, expected a directory",
                (false, true) => "holds a single run",
                (false, false) => "exists already, and is no comparison",
            };
            return Err(Error::new(ErrorKind::Io, format!("{} {what}", path.display()))
                .hint("name another directory with --out; a comparison goes on in the directory that it has made"));
        }
        std::fs::create_dir_all(path.join("stages")).map_err(|error| failed("make", path, &error))?;
        let store = Self { _lock: Some(lock(path)?), path: path.to_owned() };
        crate::files::remove_unfinished(path)?;
        Ok(store)
    }

    /// Opens a comparison to read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is none.
    pub fn inspect(path: &Path) -> Result<Self> {
        match path.join("comparison.toml").is_file() {
            true => Ok(Self { path: path.to_owned(), _lock: None }),
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
        read_json(&self.stage(key).join("done.json"))
    }

    /// What was noted of a stage that failed.
    pub fn failure(&self, key: &str) -> Result<Option<Failed>> {
        read_json(&self.stage(key).join("failed.json"))
    }

    /// Notes that a stage failed.
    pub fn write_failure(&self, key: &str, reason: &str) -> Result<()> {
        write_json(&self.stage(key).join("failed.json"), &Failed { reason: reason.into() })
    }

    /// Makes the directory of a stage, with what its process needs to know; a failure of before is forgotten.
    pub fn prepare(&self, stage: &Stage) -> Result<()> {
        let folder = self.stage(&stage.key);
        remove_if_there(&folder.join("failed.json"))?;
        write_json(&folder.join("task.json"), &stage.work)?;
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
    fn a_network_that_has_changed_since_its_stage_was_done_is_told()
    -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let stage = RunDir::create(&folder.path().join("prune-1"))?;
        write_atomically(&stage.network("cut"), b"weights")?;
        let networks = hashes(&stage, &["cut", "pruned"])?;
        assert_eq!(networks.keys().collect::<Vec<_>>(), ["cut"]);
        let done = Done { seconds: 1.0, threads: 1, device: "cpu".into(), networks };
        done.check(&stage, "cut")?;
        done.check(&stage, "pruned")?;
        write_atomically(&stage.network("cut"), b"weighty")?;
        let error = done.check(&stage, "cut").expect_err("damaged");
        assert!(error.to_string().ends_with("has changed since it was written: it is damaged"), "{error}");
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
