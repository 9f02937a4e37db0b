//! Reading and writing files: whole, bounded, and never through what somebody else put in the way.
//!
//! | to do | call |
//! |---|---|
//! | write a file that the user named, such as `--out FILE` | [`write_output`] |
//! | write a file inside a run or comparison directory | [`write_atomically`] |
//! | append to a file, or lock one, inside such a directory | [`open_inside`] |
//! | read a file that the user named | [`read_regular`], [`read_text`] |
//! | read a file that may not be there | [`read_if_there`] |

mod file_type;
mod inside;
mod output;
pub(crate) mod path_text;
mod read;

use mrpf_api::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

pub use inside::{open_inside, refuse_links, refuse_special, write_atomically};
pub use output::{is_taken, write_output};
pub use read::{JSON, SETTINGS, read_if_there, read_regular, read_text};

/// How the names of files begin that are being written.
const UNFINISHED: &str = ".mrpf-unfinished-";

/// Removes what a process left that was killed while it wrote into `folder` or a folder in it; for those who know that nobody writes there.
///
/// # Errors
/// [`ErrorKind::Io`] with the path and the system's reason.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    let list = |folder: &Path| -> Result<Vec<std::fs::DirEntry>> {
        std::fs::read_dir(folder).and_then(Iterator::collect).map_err(|error| failed("read", folder, &error))
    };
    let mut entries = list(folder)?;
    for entry in list(folder)? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            entries.extend(list(&entry.path())?);
        }
    }
    for entry in entries {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_unfinished(&entry.file_name()) {
            std::fs::remove_file(entry.path()).map_err(|error| failed("remove", &entry.path(), &error))?;
        }
    }
    Ok(())
}

/// Whether a name is that of a file that is being written, or was when its process was killed.
pub fn is_unfinished(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED)
}

/// Removes a file if there is one.
///
/// # Errors
/// [`ErrorKind::Io`] with the path and the system's reason.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The failure of the file system as it is told.
pub fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot {doing} {}: {error}", path.display());
    let failure = Error::new(ErrorKind::Io, message);
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            failure.hint("the disk is full; make room and repeat the command, with --resume if it has that: what was done so far is kept")
        }
        std::io::ErrorKind::PermissionDenied => failure.hint("choose a folder that you may write to with --out"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_the_old_file() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("deep/er/file.txt");
        write_atomically(&path, b"old")?;
        write_atomically(&path, b"new")?;
        assert_eq!(read_if_there(&path)?.as_deref(), Some(b"new".as_slice()));
        assert_eq!(std::fs::read_dir(path.parent().ok_or("no parent")?)?.count(), 1, "nothing is left beside it");
        assert_eq!(read_if_there(&folder.path().join("none"))?, None);
        // A file where a folder is needed.
        let error = write_atomically(&path.join("below"), b"x").expect_err("a file is no folder");
        assert!(error.to_string().contains("below"), "{error}");
        Ok(())
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let kept =
            [".hidden", "a.txt", "sub/b.txt", "sub/deeper/.mrpf-unfinished-c"].map(|name| folder.path().join(name));
        let left = [".mrpf-unfinished-a", "sub/.mrpf-unfinished-b"].map(|name| folder.path().join(name));
        for path in kept.iter().chain(&left) {
            write_atomically(path, b"x")?;
        }
        remove_unfinished(folder.path())?;
        assert!(kept.iter().all(|path| path.exists()));
        assert!(!left.iter().any(|path| path.exists()));
        Ok(())
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_named() {
        let error = failed("write", Path::new("x"), &std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(error.hint_text().is_some_and(|hint| hint.starts_with("the disk is full")));
    }
}
