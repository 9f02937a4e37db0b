//! Downloads the official files of a data set: resumes, checks, unpacks.
//!
//! What a data set consists of is said by its plugin ([`mrpf_api::data::DataSource::downloads`]); here is how it is had.

mod checksum;
mod transfer;
mod unpack;

use mrpf_api::context::Watcher;
use mrpf_api::data::{Download, Unpack};
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::event::{Event, EventSink};
use crate::files::{failed, refuse_special, remove_if_there};

/// Where files come from and go to.
pub struct Fetch<'a> {
    /// The folder of the data; made if it is not there.
    pub directory: &'a Path,
    /// An address that holds the same files, asked in place of the official ones.
    pub mirror: Option<&'a str>,
    /// How long to wait before a broken connection is tried again; twice as long each further time.
    pub pause: Duration,
    /// How long to wait for a server that says nothing.
    pub patience: Patience,
    /// Whether the proxy that the environment names is used.
    pub proxy: bool,
    /// Told what happens.
    pub events: &'a dyn EventSink,
    /// The wish to stop.
    pub watcher: &'a dyn Watcher,
}

/// How long a server may take before the connection is given up and tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For finding the server and connecting to it.
    pub connect: Duration,
    /// Without a byte from it, or with hardly any.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), silence: Duration::from_secs(60) }
    }
}

/// Has every file in place, whole and with the published checksum; those that are there already are only checked.
///
/// # Errors
/// [`ErrorKind::Io`] if no server gives a file or it cannot be written; [`ErrorKind::Data`] for a wrong checksum or an archive that
/// holds what it must not; [`ErrorKind::Interrupted`]. What was received is kept, and the next call goes on from there.
pub fn fetch(downloads: &[Download], fetch: &Fetch<'_>) -> Result<()> {
    let directory = fetch.directory;
    std::fs::create_dir_all(directory).map_err(|error| told(failed("make", directory, &error), directory))?;
    for download in downloads {
        let file = &download.file;
        one(download, fetch).context(|| format!("fetching {file}"))?;
    }
    Ok(())
}

fn one(download: &Download, fetch: &Fetch<'_>) -> Result<()> {
    let path = fetch.directory.join(&download.file);
    if is_unpacked(download, fetch) {
        return unpacked_before(download, fetch, &path);
    }
    if path.is_file() {
        return finish(download, fetch, &path, true);
    }
    refuse_special(&path)?;
    // Received beside and renamed when it is known to be right.
    let part = fetch.directory.join(format!("{}.part", download.file));
    let Some(held) = transfer::receive(download, fetch, &part, &path)? else {
        // Another process has put it there meanwhile.
        return finish(download, fetch, &path, true);
    };
    if let Err(error) = checksum::verify(&part, download, fetch.watcher) {
        if error.kind() == ErrorKind::Data {
            // Going on from wrong bytes would never end well.
            std::fs::remove_file(&part).map_err(|error| failed("remove", &part, &error))?;
        }
        return Err(error);
    }
    std::fs::rename(&part, &path).map_err(|error| failed("rename", &part, &error))?;
    drop(held);
    finish(download, fetch, &path, false)
}

/// Unpacks what is an archive, and says what is there. What was there before is checked first.
fn finish(download: &Download, fetch: &Fetch<'_>, path: &Path, there: bool) -> Result<()> {
    let Unpack::Archive { format, folder, largest } = &download.unpack else {
        if there {
            check(download, fetch, path)?;
        }
        return tell(fetch, download, path, there);
    };
    // One process at a time unpacks an archive, and removes it when it is done.
    let _held = hold(path, fetch)?;
    if is_unpacked(download, fetch) {
        return unpacked_before(download, fetch, path);
    }
    if there {
        check(download, fetch, path)?;
    }
    let archive = unpack::Archive { path, format: *format, folder, largest: *largest };
    unpack::unpack(&archive, fetch).map_err(|error| told(error, fetch.directory))?;
    remove_if_there(path)?;
    tell(fetch, download, &fetch.directory.join(folder), false)
}

/// Checks a file that nobody has just received.
fn check(download: &Download, fetch: &Fetch<'_>, path: &Path) -> Result<()> {
    checksum::verify(path, download, fetch.watcher).map_err(|error| match error.kind() {
        ErrorKind::Interrupted => error,
        _ => error.hint(format!("remove {} and fetch it again, or name another folder", path.display())),
    })
}

/// Whether the archive's folder is there. An archive is unpacked beside it and the folder renamed in the end, so that one with files
/// in it is whole; an empty one is somebody else's.
fn is_unpacked(download: &Download, fetch: &Fetch<'_>) -> bool {
    match &download.unpack {
        Unpack::Keep => false,
        Unpack::Archive { folder, .. } => unpack::holds_a_file(&fetch.directory.join(folder)),
    }
}

/// Says that the folder is there, and removes what a process left that was killed after it had unpacked.
fn unpacked_before(download: &Download, fetch: &Fetch<'_>, path: &Path) -> Result<()> {
    unpack::remove_left(path, fetch.directory)?;
    if path.is_file() && checksum::verify(path, download, fetch.watcher).is_ok() {
        remove_if_there(path)?;
    }
    let Unpack::Archive { folder, .. } = &download.unpack else { return Ok(()) };
    tell(fetch, download, &fetch.directory.join(folder), true)
}

/// Locks an archive, waiting for another process that unpacks it; nothing where that one has removed it.
fn hold(path: &Path, fetch: &Fetch<'_>) -> Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, &error)),
    };
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if fetch.watcher.interrupted() => {
                return Err(Error::new(ErrorKind::Interrupted, "stopped on request"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, &error)),
        }
    }
}

fn tell(fetch: &Fetch<'_>, download: &Download, path: &Path, there: bool) -> Result<()> {
    fetch.events.send(Event::Fetched { file: download.file.clone(), path: path.to_owned(), there });
    Ok(())
}

/// A failure of the file system with what helps here.
fn told(error: Error, directory: &Path) -> Error {
    match error.hint_text() {
        Some(hint) if hint.starts_with("the disk is full") => {
            let hint =
                format!("make room on the disk of {} and fetch again; what was received is kept", directory.display());
            error.hint(hint)
        }
        Some(hint) if hint.ends_with("--out") => error.hint("choose a folder that you may write to with --data-dir"),
        _ => error,
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
