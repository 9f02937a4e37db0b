//! The folder with the files of a data set.

use mrpf_api::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Where a data set's files may lie.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The data set.
    pub name: &'a str,
    /// Folders below the user's in which they may lie, the usual one first; an empty text is the user's folder itself.
    pub below: &'a [&'a str],
    /// A file, or several of which one is enough, by which the right folder is known.
    pub marks: &'a [&'a str],
    /// What the user is asked to do when it is not found.
    pub advice: &'a str,
}

/// A folder that was found.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Place<'_> {
    /// Looks for the folder in and below `directory`, which is what the user gave as `--data-dir`.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] saying what was found and what was expected.
    pub fn find(&self, directory: Option<&Path>) -> Result<Folder> {
        let wanted = self.marks.first().copied().unwrap_or_default();
        let Some(directory) = directory else {
            let message = format!("data set `{}` needs the folder that holds `{wanted}`", self.name);
            let hint = format!("give it with --data-dir DIR; {}", self.advice);
            return Err(Error::new(ErrorKind::Data, message).hint(hint));
        };
        let candidates = self.below.iter().map(|below| directory.join(below)).chain([directory.to_owned()]);
        for path in candidates {
            if self.marks.iter().any(|mark| path.join(mark).exists()) {
                return Ok(Folder { path });
            }
        }
        let found = match contents(directory) {
            Err(error) => format!("{} cannot be read: {error}", directory.display()),
            Ok(inside) => format!("{} holds {inside}, expected `{wanted}`", directory.display()),
        };
        Err(Error::new(ErrorKind::Data, found).hint(self.advice.to_owned()))
    }
}

impl Folder {
    /// A folder that is known.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first of these files that is there.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] with what the folder holds instead.
    pub fn file(&self, names: &[&str]) -> Result<PathBuf> {
        if let Some(path) = names.iter().map(|name| self.path.join(name)).find(|path| path.is_file()) {
            return Ok(path);
        }
        let wanted = names.first().copied().unwrap_or_default();
        let message = format!("reading {}: there is no such file", self.path.join(wanted).display());
        Err(Error::new(ErrorKind::Data, message).hint(self.inside()))
    }

    /// What it holds, as a hint.
    pub fn inside(&self) -> String {
        match contents(&self.path) {
            Ok(inside) => format!("its folder holds {inside}"),
            Err(error) => format!("its folder cannot be read: {error}"),
        }
    }
}

/// The first names in a folder, sorted, for an error message.
///
/// # Errors
/// The system's, if it cannot be listed.
pub fn contents(folder: &Path) -> std::io::Result<String> {
    let entries = std::fs::read_dir(folder)?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.truncate(10);
    Ok(if names.is_empty() { "nothing".into() } else { names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> =
        Place { name: "toy", below: &["toy/raw"], marks: &["a.gz", "a"], advice: "run `mrpf data fetch toy`" };

    #[test]
    fn files_are_found_below_and_in_the_folder_itself() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir_all(directory.path().join("toy/raw"))?;
        std::fs::write(directory.path().join("toy/raw/a"), "x")?;
        for path in [directory.path().to_owned(), directory.path().join("toy/raw")] {
            let folder = PLACE.find(Some(&path))?;
            assert!(folder.path().ends_with("toy/raw"));
            assert!(folder.file(&["a.gz", "a"])?.ends_with("a"));
            let error = folder.file(&["b"]).expect_err("there is no b");
            assert!(error.to_string().ends_with("raw/b: there is no such file"), "{error}");
            assert_eq!(error.hint_text(), Some("its folder holds a"));
        }
        Ok(())
    }

    #[test]
    fn what_is_not_found_is_named() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let error = PLACE.find(Some(directory.path())).expect_err("an empty folder");
        assert!(error.to_string().ends_with("holds nothing, expected `a.gz`"), "{error}");
        assert_eq!(error.hint_text(), Some("run `mrpf data fetch toy`"));
        let error = PLACE.find(None).expect_err("no folder");
        assert_eq!(error.to_string(), "data set `toy` needs the folder that holds `a.gz`");
        let error = PLACE.find(Some(&directory.path().join("nowhere"))).expect_err("no such folder");
        assert!(error.to_string().contains("nowhere cannot be read"), "{error}");
        Ok(())
    }
}
