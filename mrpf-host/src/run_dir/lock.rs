//! One process at a time in a directory.

use mrpf_api::{Error, ErrorKind, Result};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::files::{open_inside, refuse_links};

/// The file that is locked.
pub(super) const LOCK: &str = ".lock";

/// Takes the directory for this process, until the file that is returned is closed.
///
/// # Errors
/// [`ErrorKind::Io`] if another process holds it, with its number where that can be read.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = path.join(LOCK);
    let failed = |error: std::io::Error| Error::new(ErrorKind::Io, format!("cannot lock {}: {error}", path.display()));
    let mut handle = open_inside(&file, File::options().create(true).truncate(false).write(true))?;
    match handle.try_lock() {
        Ok(()) => {
            refuse_links(path)?;
            // The number only helps to find the process; where it cannot be written, the lock holds all the same.
            let _ = handle.set_len(0).and_then(|()| handle.write_all(std::process::id().to_string().as_bytes()));
            Ok(handle)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&file).ok().and_then(|text| text.parse::<u32>().ok());
            let who = holder.map_or(String::new(), |process| format!(" (process {process})"));
            let message = format!("another mrpf is working in {}{who}", path.display());
            Err(Error::new(ErrorKind::Io, message).hint("wait for it to end, or name another directory with --out"))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
