//! Archives, taken for hostile: no path leaves the folder, nothing but files and folders, and no more bytes than expected.

use flate2::read::GzDecoder;
use mrpf_api::data::ArchiveFormat;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

use super::Fetch;
use crate::files::failed;

/// More files than this are in no data set's archive.
const MOST_FILES: usize = 2_000_000;

/// An archive to unpack.
pub(super) struct Archive<'a> {
    pub path: &'a Path,
    pub format: ArchiveFormat,
    /// The folder that everything in it must be in.
    pub folder: &'a str,
    /// The most bytes that all files together may have.
    pub largest: u64,
}

/// Where an archive is unpacked before its folder is renamed.
fn beside(archive: &Path, directory: &Path) -> PathBuf {
    directory.join(format!(".unpacking-{}", archive.file_name().unwrap_or_default().to_string_lossy()))
}

/// Removes what a process left that was killed while it unpacked this archive; for those who know that nobody unpacks it now.
///
/// # Errors
/// [`ErrorKind::Io`] with the path and the system's reason.
pub(super) fn remove_left(archive: &Path, directory: &Path) -> Result<()> {
    let left = beside(archive, directory);
    match std::fs::remove_dir_all(&left) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &left, &error)),
        _ => Ok(()),
    }
}

/// Whether there is a file in a folder or below it.
pub(super) fn holds_a_file(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_a_file(&entry.path()),
        _ => true,
    })
}

/// Unpacks into a folder beside and renames that when it is complete; for those who hold the archive.
///
/// # Errors
/// [`ErrorKind::Data`] naming the entry that must not be, [`ErrorKind::Io`], [`ErrorKind::Interrupted`].
pub(super) fn unpack(archive: &Archive<'_>, fetch: &Fetch<'_>) -> Result<()> {
    let about = || format!("unpacking {}", archive.path.display());
    let directory = fetch.directory;
    remove_left(archive.path, directory)?;
    let beside = beside(archive.path, directory);
    let name = beside.file_name().unwrap_or_default();
    let beside = tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(directory);
    let beside = beside.map_err(|error| failed("make a folder in", directory, &error))?;
    let file = File::open(archive.path).map_err(|error| failed("read", archive.path, &error))?;
    let mut target = Target { root: beside.path(), archive, left: archive.largest, files: 0 };
    match archive.format {
        ArchiveFormat::TarGz => tar_gz(file, &mut target, fetch).context(about)?,
        ArchiveFormat::Zip => zip(file, &mut target, fetch).context(about)?,
    }
    let (from, to) = (beside.path().join(archive.folder), directory.join(archive.folder));
    if !from.is_dir() {
        return Err(wrong(format!("there is no folder `{}` in it", archive.folder)).context(about()));
    }
    if to.is_dir() && !holds_a_file(&to) {
        std::fs::remove_dir_all(&to).map_err(|error| failed("remove the empty folder", &to, &error))?;
    }
    std::fs::rename(&from, &to).map_err(|error| failed("rename", &from, &error))
}

fn tar_gz(file: File, target: &mut Target<'_>, fetch: &Fetch<'_>) -> Result<()> {
    let damaged = |error: std::io::Error| wrong(format!("the archive is damaged: {error}"));
    // Headers and padding are at most as much again as files of a few bytes; names that are longer than memory end here as well.
    let limit = target.archive.largest.saturating_mul(2).saturating_add(64 << 20);
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)).take(limit));
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        stop(fetch)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        match entry.header().entry_type() {
            tar::EntryType::Directory => target.folder(&name)?,
            tar::EntryType::Regular | tar::EntryType::Continuous => target.file(&name, &mut entry)?,
            // Comments of the archive itself.
            tar::EntryType::XGlobalHeader => {}
            other => {
                let message = format!("`{}` is of type {other:?}, expected files and folders only", name.display());
                return Err(wrong(message));
            }
        }
    }
    // The archive's end comes before that of the compressed stream, whose checksum is verified by reading on.
    std::io::copy(&mut tar.into_inner(), &mut std::io::sink()).map_err(damaged)?;
    Ok(())
}

fn zip(file: File, target: &mut Target<'_>, fetch: &Fetch<'_>) -> Result<()> {
    let damaged = |error: zip::result::ZipError| wrong(format!("the archive is damaged: {error}"));
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let total = zip.len();
    let what = format!("unpacking {}", target.archive.path.file_name().unwrap_or_default().to_string_lossy());
    for at in 0..total {
        stop(fetch)?;
        if at % 500 == 0 || at + 1 == total {
            fetch.watcher.progress(&what, at + 1, total);
        }
        let mut entry = zip.by_index(at).map_err(damaged)?;
        let name = PathBuf::from(entry.name().map_err(damaged)?.into_owned());
        // Upper bits of the mode that say what an entry is: nothing, a folder or a file.
        let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
        if entry.is_symlink() || ![0, 0o040_000, 0o100_000].contains(&kind) {
            return Err(wrong(format!("`{}` is a link or a device, expected files and folders only", name.display())));
        }
        if entry.is_dir() { target.folder(&name)? } else { target.file(&name, &mut entry)? }
    }
    Ok(())
}

/// Where entries go, and how much may still come.
struct Target<'a> {
    root: &'a Path,
    archive: &'a Archive<'a>,
    left: u64,
    files: usize,
}

impl Target<'_> {
    /// Where an entry goes.
    fn place(&self, name: &Path) -> Result<PathBuf> {
        let folder = self.archive.folder;
        let mut place = PathBuf::new();
        for component in name.components() {
            match component {
                Component::Normal(part) => place.push(part),
                Component::CurDir => {}
                _ => return Err(wrong(format!("`{}` leads out of the folder", name.display()))),
            }
        }
        // A backslash separates folders elsewhere.
        if name.to_string_lossy().contains('\\') || !(place.starts_with(folder) || place.as_os_str().is_empty()) {
            return Err(wrong(format!("`{}` is not in the folder `{folder}`", name.display())));
        }
        Ok(self.root.join(place))
    }

    fn folder(&self, name: &Path) -> Result<()> {
        let place = self.place(name)?;
        std::fs::create_dir_all(&place).map_err(|error| failed("make", &place, &error))
    }

    fn file(&mut self, name: &Path, from: &mut dyn Read) -> Result<()> {
        let place = self.place(name)?;
        self.files += 1;
        if self.files > MOST_FILES {
            return Err(wrong(format!("there are more than {MOST_FILES} files in it")));
        }
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
        }
        let mut file =
            File::options().write(true).create_new(true).open(&place).map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => wrong(format!("`{}` is in it twice", name.display())),
                _ => failed("write", &place, &error),
            })?;
        // What a header says of the size is not asked.
        let mut from = Source { from: from.take(self.left.saturating_add(1)), failure: None };
        let copied = std::io::copy(&mut from, &mut file);
        let damaged = from.failure.take();
        let copied = copied.map_err(|error| match damaged {
            Some(why) => wrong(format!("`{}` is damaged: {why}", name.display())),
            None => failed("write", &place, &error),
        })?;
        self.left = self.left.checked_sub(copied).ok_or_else(|| {
            wrong(format!("the files have more than {} bytes, as many as are expected at most", self.archive.largest))
        })?;
        Ok(())
    }
}

/// Tells a failure of the archive from one of the disk.
struct Source<R> {
    from: R,
    failure: Option<String>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into);
        if let Err(error) = &read
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            self.failure = Some(error.to_string());
        }
        read
    }
}

fn stop(fetch: &Fetch<'_>) -> Result<()> {
    match fetch.watcher.interrupted() {
        true => {
            Err(Error::new(ErrorKind::Interrupted, "stopped on request; the archive is kept, fetch again to go on"))
        }
        false => Ok(()),
    }
}

fn wrong(message: String) -> Error {
    let hint = "the archive is not the official one, or damaged; remove it and fetch again";
    Error::new(ErrorKind::Data, message).hint(hint)
}
