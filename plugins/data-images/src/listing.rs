//! Which files a data set consists of, and a fingerprint by which a change of any of them is noticed.

use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The files of a data set.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// Files to train with, in the order of their images.
    pub train: Vec<Entry>,
    /// Files to test with.
    pub test: Vec<Entry>,
    /// Names of the classes, by label.
    pub class_names: Vec<String>,
}

/// A file with its label.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub path: PathBuf,
    pub label: u32,
}

impl Listing {
    /// A hash over the names, labels, sizes and times of change of all files, in order, and over `decoding`: how they are decoded.
    ///
    /// Paths are taken relative to `root`, so that a folder may be moved with what is kept in it.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] naming the first file that cannot be looked at.
    pub(crate) fn fingerprint(&self, root: &Path, decoding: &str) -> Result<String> {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            // The length goes first, so that no two lists of texts read alike.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(decoding);
        self.class_names.iter().for_each(|name| add(name));
        for (part, entries) in [("train", &self.train), ("test", &self.test)] {
            add(part);
            let seen: Vec<Result<String>> = entries.par_iter().map(|entry| entry.seen(root)).collect();
            for line in seen {
                add(&line?);
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Entry {
    /// What of a file tells that it has changed.
    fn seen(&self, root: &Path) -> Result<String> {
        let failed = |error: std::io::Error| {
            let message = format!("cannot be read: {error}");
            Error::new(ErrorKind::Data, message).context(format!("reading {}", self.path.display()))
        };
        let metadata = std::fs::metadata(&self.path).map_err(failed)?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| time.as_nanos());
        let path = self.path.strip_prefix(root).unwrap_or(&self.path);
        Ok(format!("{} {} {} {modified}", path.display(), self.label, metadata.len()))
    }
}

/// The visible entries of a folder by name, sorted.
///
/// # Errors
/// [`ErrorKind::Data`] with the folder and the system's reason.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot be listed: {error}");
        Error::new(ErrorKind::Data, message).context(format!("reading {}", folder.display()))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Endings of the pictures that are read, in lower case.
pub(crate) const ENDINGS: &[&str] =
    &["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm", "pgm", "pbm", "pnm"];

/// Whether a file is a picture by the ending of its name.
pub(crate) fn is_image(name: &str) -> bool {
    ENDINGS.contains(&ending(name).as_str())
}

/// What stands behind the last dot of a name, in lower case; nothing where there is no dot.
pub(crate) fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
}
