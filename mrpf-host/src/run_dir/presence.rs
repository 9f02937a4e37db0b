//! Whether the directory of a run is still there while the run goes on.

use mrpf_api::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::Path;

use super::RunDir;
use super::lock::LOCK;

impl RunDir {
    /// Checks that the directory is the one that this process has locked: somebody may have removed, renamed or replaced it since.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is not.
    pub fn check_present(&self) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), |lock| check_present(lock, &self.path))
    }
}

/// Checks that `path` is still the directory whose lock this process holds.
///
/// # Errors
/// [`ErrorKind::Io`] if it is not.
pub(crate) fn check_present(lock: &File, path: &Path) -> Result<()> {
    if same_file(lock, &path.join(LOCK)) {
        return Ok(());
    }
    let message = format!(
        "the directory {} is not there any more: it was removed, renamed or replaced while this command worked in it",
        path.display()
    );
    Err(Error::new(ErrorKind::Io, message).hint(
        "if it was renamed, go on under its new name; otherwise begin anew. Leave the directory alone while a command works in it",
    ))
}

#[cfg(unix)]
fn same_file(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let there = std::fs::symlink_metadata(path).map(identity);
    open.metadata().map(identity).is_ok_and(|open| there.is_ok_and(|there| there == open))
}

#[cfg(not(unix))]
fn same_file(_open: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_gone_or_another_is_told() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("run");
        let run = RunDir::create(&path)?;
        run.write_sensitivity("mrs", &[])?;
        std::fs::rename(&path, folder.path().join("renamed"))?;
        let gone = "it was removed, renamed or replaced while this command worked in it";
        assert!(run.write_sensitivity("mrs", &[]).expect_err("renamed").to_string().ends_with(gone));
        assert!(!path.exists(), "nothing is made in its place");
        let other = RunDir::create(&path)?;
        assert!(run.write_sensitivity("mrs", &[]).expect_err("replaced").to_string().ends_with(gone));
        other.write_sensitivity("mrs", &[])?;
        Ok(())
    }
}
