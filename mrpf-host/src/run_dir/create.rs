//! New run directories.

use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;

use super::RunDir;
use super::file_name::slug;
use super::lock::{LOCK, lock};
use crate::files::{failed, is_unfinished, remove_unfinished};

/// What lies in a directory before anything was computed there. A command that failed or was killed by then keeps no other from the
/// directory.
const BEGUN: [&str; 5] = ["experiment.toml", "task.json", "metrics.jsonl", "tensorboard", MARK];
/// The first file that a command writes, and the last one that is removed: what lies beside it belongs to a run.
const MARK: &str = "run.json";

impl RunDir {
    /// Makes a new run directory, also in one where a run ended before it computed anything.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if something stands there already, it cannot be made, or another process works in it.
    pub fn create(path: &Path) -> Result<Self> {
        if occupied(path)? {
            let run = Self::inspect(path).ok();
            let what = match (&run, path.is_file()) {
                (Some(_), _) => "holds a run already",
                (None, true) => "is a file, expected a directory",
                (None, false) => "exists already and is not empty",
            };
            let hint = match run.and_then(|run| run.way_on()) {
                Some(way) => format!("go on with it by {way}, or name another directory with --out"),
                None => "name another directory with --out".into(),
            };
            return Err(Error::new(ErrorKind::Io, format!("{} {what}", path.display())).hint(hint));
        }
        make(path)?;
        let run = Self { path: path.into(), lock: Some(lock(path)?) };
        // Before the lock was had, another process may have worked here.
        if occupied(path)? {
            drop(run);
            return Self::create(path);
        }
        remove_unfinished(path)?;
        for begun in BEGUN.map(|name| path.join(name)) {
            let removed = if begun.is_dir() { std::fs::remove_dir_all(&begun) } else { std::fs::remove_file(&begun) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &begun, &error));
                }
                _ => {}
            }
        }
        Ok(run)
    }

    /// Makes `parent/name-1`, or the next number that is free.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it cannot be made.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Self> {
        make(parent)?;
        for number in 1..10_000 {
            let path = parent.join(format!("{}-{number}", slug(name)));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { lock: Some(lock(&path)?), path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!("cannot make the directory {}: {error}", path.display());
                    return Err(Error::new(ErrorKind::Io, message).hint("name a directory with --out"));
                }
            }
        }
        Err(Error::new(ErrorKind::Io, format!("{} holds ten thousand runs of that name", parent.display())))
    }
}

fn make(path: &Path) -> Result<()> {
    let told = |error| Error::new(ErrorKind::Io, format!("cannot make the directory {}: {error}", path.display()));
    std::fs::create_dir_all(path).map_err(told)
}

/// Whether something stands at `path` that a new run must not touch.
fn occupied(path: &Path) -> Result<bool> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(_) => return Ok(path.is_file()),
    };
    let mut names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<_>>()
        .map_err(|error| failed("read", path, &error))?;
    // The lock holds only as long as the process that made it lives, and so does a file that is being written.
    names.retain(|name| name != LOCK && !is_unfinished(name));
    let only_begun = names.iter().all(|name| BEGUN.iter().any(|begun| name == begun));
    // Settings and a log alone may be somebody's own.
    let is_free = names.is_empty() || (only_begun && names.iter().any(|name| name == MARK));
    Ok(!is_free)
}

#[cfg(test)]
mod tests {
    use super::super::Call;
    use super::*;
    use crate::experiment::Experiment;

    type Tested = std::result::Result<(), Box<dyn std::error::Error>>;

    fn begin(run: &RunDir, command: &str) -> Result<()> {
        run.write_provenance(&Experiment::default(), &Call { command, arguments: &[], device: "cpu" })?;
        run.write_experiment(&Experiment::default())
    }

    #[test]
    fn a_directory_is_made_once_and_used_by_one() -> Tested {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run");
        let run = RunDir::create(&path)?;
        begin(&run, "train")?;
        let told = format!("another mrpf is working in {} (process {})", path.display(), std::process::id());
        for taken in [RunDir::open(&path), RunDir::create(&path)] {
            assert_eq!(taken.expect_err("it is in use").to_string(), told);
        }
        run.write_sensitivity("mrs", &[])?;
        let error = RunDir::create(&path).expect_err("it exists");
        assert!(error.to_string().ends_with("holds a run already"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("`mrpf train --resume ")), "{error:?}");
        drop(run);
        assert_eq!(RunDir::open(&path)?.read_experiment()?, Experiment::default());
        Ok(())
    }

    #[test]
    fn what_failed_before_it_computed_anything_takes_no_place() -> Tested {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run");
        let run = RunDir::create(&path)?;
        begin(&run, "run")?;
        std::fs::write(run.metrics(), "{}")?;
        drop(run);
        let run = RunDir::create(&path)?;
        assert!(!run.metrics().exists());
        // What is not of such a run stays where it is, and keeps the directory.
        std::fs::write(path.join("mine.txt"), "x")?;
        begin(&run, "run")?;
        drop(run);
        assert!(RunDir::create(&path).is_err() && path.join("mine.txt").exists());
        Ok(())
    }

    #[test]
    fn a_command_that_was_killed_at_any_of_its_first_files_takes_no_place() -> Tested {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run");
        let run = RunDir::create(&path)?;
        drop(run);
        // What is there after each step; the files that were being written stay as they are.
        let steps: [&[&str]; 6] = [
            &[".mrpf-unfinished-a"],
            &["run.json"],
            &["run.json", ".mrpf-unfinished-a"],
            &["run.json", "experiment.toml", ".mrpf-unfinished-a"],
            &["run.json", "experiment.toml", "task.json"],
            &["run.json", "experiment.toml", "task.json", "metrics.jsonl"],
        ];
        for files in steps {
            for file in files {
                std::fs::write(path.join(file), "{}")?;
            }
            if files.contains(&"run.json") && !files.contains(&"experiment.toml") {
                let error = RunDir::open(&path).expect_err("nothing to go on with");
                assert!(error.to_string().contains("nothing has been computed in"), "{error}");
            }
            drop(RunDir::create(&path)?);
            assert!(files.iter().all(|file| !path.join(file).exists()), "{files:?}");
        }
        Ok(())
    }

    #[test]
    fn numbers_go_up_and_names_are_safe() -> Tested {
        let folder = tempfile::tempdir()?;
        let first = RunDir::create_numbered(folder.path(), "a b/../c")?;
        let second = RunDir::create_numbered(folder.path(), "a b/../c")?;
        assert_eq!(first.path(), folder.path().join("a-b-..-c-1"));
        assert_eq!(second.path(), folder.path().join("a-b-..-c-2"));
        Ok(())
    }

    #[test]
    fn a_file_is_no_place_for_a_run() -> Tested {
        let file = tempfile::NamedTempFile::new()?;
        let error = RunDir::create(file.path()).expect_err("a file");
        assert_eq!(error.to_string(), format!("{} is a file, expected a directory", file.path().display()));
        Ok(())
    }
}
