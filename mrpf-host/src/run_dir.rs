//! A run on disk: one directory, one process at a time.
//!
//! ```text
//! run.json               version, seed, device, threads, start, arguments, plugins
//! experiment.toml        the resolved settings
//! task.json              of `mrpf evaluate` and `mrpf finetune`: the network, and the radii
//! metrics.jsonl          every event
//! tensorboard/           the same as curves, for TensorBoard
//! results.json           the rows of the comparison
//! report.md              the same for people
//! networks/ROW           the networks, one safetensors file each
//! training/STAGE.json    what each training gave, epoch by epoch
//! checkpoints/STAGE      the state of a training in progress
//! sensitivity/METRIC.json
//! plans/ROW.json         what was cut and why
//! evaluation/ROW.json    counts, and ROW.parquet with the outcome of every image
//! latency/ROW.json       time of a pass on this machine
//! latency-table.json     times of layers, where latency is the budget
//! done/STAGE.json        what a stage was computed from, and the SHA-256 of each file that it left
//! ```
//!
//! Different names lie in different files: a space is written `+`, and what no file name should hold as `%` and its hexadecimal code.

mod create;
mod done;
mod file_name;
mod lock;
mod made_by;
mod presence;
mod provenance;
mod records;
mod sealed;

use mrpf_api::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

pub use done::check_named_file;
pub(crate) use file_name::file_name;
pub(crate) use lock::lock;
pub(crate) use presence::check_present;
pub use provenance::Call;
pub(crate) use sealed::{read_sealed, sealed};

/// A run directory, locked for this process where it writes.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    // Held open: the lock ends with the file, and so with the process however it ends.
    lock: Option<File>,
}

impl RunDir {
    /// Opens a run to go on with it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is no run directory, or another process works in it.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self::inspect(path)?;
        let run = Self { lock: Some(lock(path)?), ..run };
        // With the lock held nobody else is writing there.
        crate::files::remove_unfinished(path)?;
        Ok(run)
    }

    /// Opens a run to read from it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is no run directory.
    pub fn inspect(path: &Path) -> Result<Self> {
        if !path.join("experiment.toml").is_file() {
            if path.join("run.json").is_file() {
                let message = format!("nothing has been computed in {} yet: it has no experiment.toml", path.display());
                let hint = format!("begin anew with the command that made it and --out {}", path.display());
                return Err(Error::new(ErrorKind::Io, message).hint(hint));
            }
            let why = match (path.is_dir(), path.exists()) {
                (true, _) => "has no experiment.toml in it",
                (false, true) => "is a file",
                (false, false) => "does not exist",
            };
            let message = format!("{} is no run directory: it {why}", path.display());
            return Err(Error::new(ErrorKind::Io, message)
                .hint("name a directory that `mrpf run` made, for example with --out"));
        }
        Ok(Self { path: path.into(), lock: None })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside, as it is written into results.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.path).unwrap_or(path).display().to_string()
    }

    /// Where the network of a row or stage lies.
    pub fn network(&self, name: &str) -> PathBuf {
        self.path.join("networks").join(format!("{}.safetensors", file_name(name)))
    }

    /// Where the state of a training in progress lies.
    pub fn checkpoint(&self, stage: &str) -> PathBuf {
        self.path.join("checkpoints").join(format!("{}.safetensors", file_name(stage)))
    }

    /// Where measured sensitivities lie.
    pub fn sensitivity(&self, label: &str) -> PathBuf {
        self.json("sensitivity", label)
    }

    /// Where the record of a training lies.
    pub fn training(&self, name: &str) -> PathBuf {
        self.json("training", name)
    }

    /// Where what was cut from a row lies.
    pub fn plan(&self, row: &str) -> PathBuf {
        self.json("plans", row)
    }

    /// Where an evaluation lies.
    pub fn evaluation(&self, label: &str) -> PathBuf {
        self.json("evaluation", label)
    }

    /// Where a measured time lies.
    pub fn latency(&self, row: &str) -> PathBuf {
        self.json("latency", row)
    }

    /// Where the times of layers lie.
    pub fn layer_times(&self) -> PathBuf {
        self.path.join("latency-table.json")
    }

    /// Where an evaluation in progress keeps what it has done.
    pub fn journal(&self, label: &str) -> PathBuf {
        self.evaluation(label).with_extension("journal")
    }

    /// Where the results lie.
    pub fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// Where the report lies.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.md")
    }

    /// Where the events lie.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    fn json(&self, folder: &str, name: &str) -> PathBuf {
        self.path.join(folder).join(format!("{}.json", file_name(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Latency;

    #[test]
    fn what_is_no_run_is_said() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let error = RunDir::inspect(Path::new("/nowhere/at/all")).expect_err("nothing there");
        assert_eq!(error.to_string(), "/nowhere/at/all is no run directory: it does not exist");
        let file = tempfile::NamedTempFile::new()?;
        let at = file.path().display();
        let error = RunDir::inspect(file.path()).expect_err("a file");
        assert_eq!(error.to_string(), format!("{at} is no run directory: it is a file"));
        Ok(())
    }

    #[test]
    fn rows_with_similar_names_do_not_share_files() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let run = RunDir::create(&folder.path().join("run"))?;
        run.write_latency("a b", &Latency { batch: 1, median_ms: 2.0 })?;
        assert!(run.latency("a b").exists() && !run.latency("a-b").exists());
        assert_ne!(run.network("a b"), run.network("a-b"));
        // What was written under a label is found again under that label.
        run.write_sensitivity("mrs a/b", &[])?;
        assert_eq!(run.read_sensitivities()?, [("mrs a/b".to_owned(), Vec::new())]);
        Ok(())
    }
}
