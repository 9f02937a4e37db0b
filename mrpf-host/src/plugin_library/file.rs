//! What can be said of a library without opening it: that it is a regular file of a sensible size, and a whole library.

use object::{Architecture, BinaryFormat, Object, ObjectKind, ObjectSegment};
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use super::refusal::Refusal;

/// No plugin comes near this size, and a file that only claims to be large is not read.
const LARGEST: u64 = 1 << 30;

/// Reads the library at an absolute path without links. The file is opened once: what is checked is what was read.
pub(super) fn read(resolved: &Path) -> Result<(Vec<u8>, Metadata), Refusal> {
    let file = open(resolved).map_err(Refusal::Unreadable)?;
    let metadata = file.metadata().map_err(Refusal::Unreadable)?;
    if !metadata.is_file() {
        return Err(Refusal::NotAFile(if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" }));
    }
    if metadata.len() > LARGEST {
        return Err(Refusal::NotALibrary(format!("it has {} bytes, expected {LARGEST} at most", metadata.len())));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(Refusal::Unreadable)?;
    Ok((bytes, metadata))
}

/// Follows no link that was put there after the path was resolved, and does not wait for a pipe's other end.
#[cfg(all(unix, feature = "dynamic-plugins"))]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

#[cfg(not(all(unix, feature = "dynamic-plugins")))]
fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// A library whose end is missing would stop the process when the loader touches the missing part, so it is never opened.
pub(super) fn check_whole(bytes: &[u8]) -> Result<(), Refusal> {
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
