//! Downloads the official files of a data set: resumes, checks, unpacks.
//!
//! What a data set consists of is said by its plugin ([`mrpf_api::data::DataSource::downloads`]); here is how it is had.

mod checksum;
mod transfer;
mod unpack;

use mrpf_api::context::Watcher;
use mrpf_api::data::{Download, Unpack};
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::path::Path;
use std::time::Duration;

use crate::event::{Event, EventSink};
use crate::files::{failed, refuse_special};

/// Where files come from and go to.
pub struct Fetch<'a> {
    /// The folder of the data; made if it is not there.
    pub directory: &'a Path,
    /// An address that holds the same files, asked in place of the official ones.
    pub mirror: Option<&'a str>,
    /// How long to wait before a broken connection is tried again; twice as long each further time.
    pub pause: Duration,
    /// Whether the proxy that the environment names is used.
    pub proxy: bool,
    /// Told what happens.
    pub events: &'a dyn EventSink,
    /// The wish to stop.
    pub watcher: &'a dyn Watcher,
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
    if let Unpack::Archive { folder, .. } = &download.unpack
        && fetch.directory.join(folder).is_dir()
    {
        return tell(fetch, download, &fetch.directory.join(folder), true);
    }
    if path.is_file() {
        match checksum::verify(&path, download, fetch.watcher) {
            Ok(()) => return finish(download, fetch, &path, true),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let hint = format!("remove {} and fetch it again, or name another folder", path.display());
                return Err(error.hint(hint));
            }
        }
    }
    refuse_special(&path)?;
    // Received beside and renamed when it is known to be right.
    let part = fetch.directory.join(format!("{}.part", download.file));
    transfer::receive(download, fetch, &part)?;
    if let Err(error) = checksum::verify(&part, download, fetch.watcher) {
        if error.kind() == ErrorKind::Data {
            // Going on from wrong bytes would never end well.
            std::fs::remove_file(&part).map_err(|error| failed("remove", &part, &error))?;
        }
        return Err(error);
    }
    std::fs::rename(&part, &path).map_err(|error| failed("rename", &part, &error))?;
    finish(download, fetch, &path, false)
}

/// Unpacks what is an archive, and says what is there.
fn finish(download: &Download, fetch: &Fetch<'_>, path: &Path, there: bool) -> Result<()> {
    let Unpack::Archive { format, folder, largest } = &download.unpack else {
        return tell(fetch, download, path, there);
    };
    let archive = unpack::Archive { path, format: *format, folder, largest: *largest };
    unpack::unpack(&archive, fetch).map_err(|error| told(error, fetch.directory))?;
    std::fs::remove_file(path).map_err(|error| failed("remove", path, &error))?;
    tell(fetch, download, &fetch.directory.join(folder), false)
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
mod tests;
