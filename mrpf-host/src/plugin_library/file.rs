//! What can be said of a library without opening it: that it is a regular file which nobody else can change, and a whole library.

use object::{Architecture, BinaryFormat, Object, ObjectKind, ObjectSegment};
use std::fs::Metadata;
use std::path::Path;

use super::open::Writable;
use super::refusal::Refusal;

/// Reads the library at an absolute path without links.
pub(super) fn read(path: &Path, writable: Writable) -> Result<Vec<u8>, Refusal> {
    let metadata = path.metadata().map_err(Refusal::Unreadable)?;
    if !metadata.is_file() {
        return Err(Refusal::NotAFile(if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" }));
    }
    if writable == Writable::Refuse {
        check_writable(path, &metadata)?;
    }
    let bytes = std::fs::read(path).map_err(Refusal::Unreadable)?;
    check_whole(&bytes)?;
    Ok(bytes)
}

/// The file, and the folder it lies in: who can write there can put another file in its place.
#[cfg(unix)]
fn check_writable(path: &Path, file: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    if file.mode() & OTHERS_WRITE != 0 {
        return Err(Refusal::Writable(path.into()));
    }
    let Some(folder) = path.parent() else { return Ok(()) };
    let mode = folder.metadata().map_err(Refusal::Unreadable)?.mode();
    // In a sticky folder such as /tmp only the owner of a file can replace it.
    match mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        true => Err(Refusal::Writable(folder.into())),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_writable(_: &Path, _: &Metadata) -> Result<(), Refusal> {
    Ok(())
}

/// A library whose end is missing would stop the process when the loader touches the missing part, so it is never opened.
fn check_whole(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::NotALibrary("it is empty".into()));
    }
    object::FileKind::parse(bytes).map_err(|_| Refusal::NotALibrary("it has no header of one".into()))?;
    let library = object::File::parse(bytes).map_err(|error| Refusal::Truncated(error.to_string().to_lowercase()))?;
    let found = (library.format(), library.architecture());
    if found.0 != BinaryFormat::native_object() || machine().is_some_and(|machine| machine != found.1) {
        return Err(Refusal::NotALibrary(format!("it is in format {:?} for {:?} machines", found.0, found.1)));
    }
    if library.kind() != ObjectKind::Dynamic {
        return Err(Refusal::NotALibrary(format!("it is of kind {:?}", library.kind())));
    }
    for segment in library.segments() {
        if segment.data().is_err() {
            let (start, size) = segment.file_range();
            let end = start.saturating_add(size);
            return Err(Refusal::Truncated(format!("it has {} bytes, but a part of it ends at {end}", bytes.len())));
        }
    }
    Ok(())
}

/// The machine that this program is for, where it is one that plugins are known to work on.
fn machine() -> Option<Architecture> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Architecture::X86_64),
        "aarch64" => Some(Architecture::Aarch64),
        _ => None,
    }
}
