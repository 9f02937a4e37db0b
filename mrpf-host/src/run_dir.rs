//! A run on disk: one directory, one process at a time.
//!
//! ```text
//! experiment.toml        the resolved settings
//! task.json              of `mrpf evaluate`: the network and the radii
//! run.json               version, seed, device, threads, start, arguments, plugins
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
//! ```
//!
//! Different names lie in different files: a space is written `+`, and what no file name should hold as `%` and its hexadecimal code.

mod file_name;
mod lock;
mod provenance;
mod records;

use mrpf_api::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

pub(crate) use file_name::file_name;
use file_name::slug;
pub(crate) use lock::lock;
pub(crate) use records::{read_json, write_json};

/// A run directory, locked for this process where it writes.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    // Held open: the lock ends with the file, and so with the process however it ends.
    _lock: Option<File>,
}

impl RunDir {
    /// Makes a new run directory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if something stands there already, or it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let occupied = path.is_file() || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            let is_run = path.join("experiment.toml").is_file();
            let what = match (is_run, path.is_file()) {
                (true, _) => "holds a run already",
                (false, true) => "is a file, expected a directory",
                (false, false) => "exists already and is not empty",
            };
            let hint = match is_run {
                true => format!(
                    "go on with it by `mrpf run --resume {}`, or name another directory with --out",
                    path.display()
                ),
                false => "name another directory with --out".into(),
            };
            return Err(Error::new(ErrorKind::Io, format!("{} {what}", path.display())).hint(hint));
        }
        std::fs::create_dir_all(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot make the directory {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.into(), _lock: Some(lock(path)?) })
    }

    /// Makes `parent/name-1`, or the next number that is free.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(parent).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot make the directory {}: {error}", parent.display()))
        })?;
        for number in 1..10_000 {
            let path = parent.join(format!("{}-{number}", slug(name)));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { _lock: Some(lock(&path)?), path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!("cannot make the directory {}: {error}", path.display());
                    return Err(Error::new(ErrorKind::Io, message).hint("name a directory with --out"));
                }
            }
        }
        Err(Error::new(ErrorKind::Io, format!("{} holds ten thousand runs of that name", parent.display())))
    }

    /// Opens a run to go on with it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is no run directory, or another process works in it.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self::inspect(path)?;
        let run = Self { _lock: Some(lock(path)?), ..run };
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
            let why = match (path.is_dir(), path.exists()) {
                (true, _) => "has no experiment.toml in it",
                (false, true) => "is a file",
                (false, false) => "does not exist",
            };
            let message = format!("{} is no run directory: it {why}", path.display());
            return Err(Error::new(ErrorKind::Io, message)
                .hint("name a directory that `mrpf run` made, for example with --out"));
        }
        Ok(Self { path: path.into(), _lock: None })
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

    /// Where an evaluation in progress keeps what it has done.
    pub fn journal(&self, label: &str) -> PathBuf {
        self.json("evaluation", label).with_extension("journal")
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
    use crate::experiment::Experiment;

    #[test]
    fn a_directory_is_made_once_and_used_by_one() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run");
        let run = RunDir::create(&path)?;
        run.write_experiment(&Experiment::default())?;
        let error = RunDir::create(&path).expect_err("it exists");
        assert!(error.to_string().ends_with("holds a run already"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("--resume")));
        let error = RunDir::open(&path).expect_err("it is in use");
        let told = format!("another mrpf is working in {} (process {})", path.display(), std::process::id());
        assert_eq!(error.to_string(), told);
        drop(run);
        assert_eq!(RunDir::open(&path)?.read_experiment()?, Experiment::default());
        Ok(())
    }

    #[test]
    fn numbers_go_up_and_names_are_safe() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let first = RunDir::create_numbered(folder.path(), "a b/../c")?;
        let second = RunDir::create_numbered(folder.path(), "a b/../c")?;
        assert_eq!(first.path(), folder.path().join("a-b-..-c-1"));
        assert_eq!(second.path(), folder.path().join("a-b-..-c-2"));
        Ok(())
    }

    #[test]
    fn what_is_no_run_is_said() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let error = RunDir::inspect(Path::new("/nowhere/at/all")).expect_err("nothing there");
        assert_eq!(error.to_string(), "/nowhere/at/all is no run directory: it does not exist");
        let file = tempfile::NamedTempFile::new()?;
        let at = file.path().display();
        let error = RunDir::inspect(file.path()).expect_err("a file");
        assert_eq!(error.to_string(), format!("{at} is no run directory: it is a file"));
        let error = RunDir::create(file.path()).expect_err("a file");
        assert_eq!(error.to_string(), format!("{at} is a file, expected a directory"));
        Ok(())
    }

    #[test]
    fn rows_with_similar_names_do_not_share_files() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let run = RunDir::create(&folder.path().join("run"))?;
        run.write_latency("a b", &Latency { batch: 1, median_ms: 2.0 })?;
        assert_eq!(run.read_latency("a-b")?, None);
        assert_ne!(run.network("a b"), run.network("a-b"));
        // What was written under a label is found again under that label.
        run.write_sensitivity("mrs a/b", &[])?;
        assert_eq!(run.read_sensitivities()?, [("mrs a/b".to_owned(), Vec::new())]);
        Ok(())
    }
}
