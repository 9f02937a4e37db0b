//! The pictures of a class: all files below its folder, however it is linked.

use mrpf_api::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::listing::{is_image, sorted};
use crate::passed_over::{PassedOver, Why};

/// Folders below a class's folder are looked into down to this depth.
const DEEPEST: usize = 8;

/// The picture files below `folder`, sorted. Links are followed, but none to a folder that holds the link or the class, and no
/// folder is read twice, so that the work is bounded by the folders that there are.
///
/// # Errors
/// [`ErrorKind::Data`] with the folder that cannot be read.
pub(crate) fn pictures_below(folder: &Path, passed: &mut PassedOver) -> Result<Vec<PathBuf>> {
    let start = real(folder)?;
    let mut files = Vec::new();
    if folder.is_symlink() && leads_up(folder, &start)? {
        passed.folder(Why::LeadsUp, folder);
        return Ok(files);
    }
    let mut walk = Walk { read: BTreeSet::from([start.clone()]), start, passed, files: &mut files };
    walk.folder(folder, 0)?;
    Ok(files)
}

struct Walk<'a> {
    /// The class's folder.
    start: PathBuf,
    /// Folders that were read.
    read: BTreeSet<PathBuf>,
    passed: &'a mut PassedOver,
    files: &'a mut Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<()> {
        for (name, path) in sorted(folder)? {
            if path.is_dir() {
                self.enter(&path, depth + 1)?;
            } else if is_image(&name) {
                self.files.push(path);
            } else {
                self.passed.file(&name);
            }
        }
        Ok(())
    }

    fn enter(&mut self, path: &Path, depth: usize) -> Result<()> {
        let place = real(path)?;
        if path.is_symlink() && (self.start.starts_with(&place) || leads_up(path, &place)?) {
            self.passed.folder(Why::LeadsUp, path);
        } else if depth > DEEPEST {
            self.passed.folder(Why::TooDeep, path);
        } else if !self.read.insert(place) {
            self.passed.folder(Why::ReadBefore, path);
        } else {
            self.folder(path, depth)?;
        }
        Ok(())
    }
}

/// Whether a link to the folder `place` lies in that folder or below it.
fn leads_up(link: &Path, place: &Path) -> Result<bool> {
    Ok(real(link.parent().unwrap_or(Path::new(".")))?.starts_with(place))
}

fn real(path: &Path) -> Result<PathBuf> {
    // The parent of a name alone is an empty path, which no system knows.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().map_err(|error| {
        let message = format!("cannot be read: {error}");
        Error::new(ErrorKind::Data, message).context(format!("reading {}", path.display()))
    })
}
