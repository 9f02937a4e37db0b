//! Opens files, and nothing that only looks like one: a pipe blocks whoever reads it, and some devices never end.

use std::fs::{File, FileType};
use std::path::Path;

/// Opens a file to read it. Links are followed; pipes, sockets, devices and folders are refused before they are opened.
///
/// # Errors
/// A fragment for a message, without the path: the system's reason, or what stands there in place of a file.
pub fn open_regular(path: &Path) -> std::result::Result<File, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let kind = std::fs::metadata(path).map_err(unreadable)?.file_type();
    match kind.is_file() {
        true => File::open(path).map_err(unreadable),
        false => Err(format!("is {}, expected a file", name(kind))),
    }
}

#[cfg(unix)]
fn name(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "of an unknown kind"
    }
}

#[cfg(not(unix))]
fn name(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "of an unknown kind" }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_before_it_is_opened() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let pipe = folder.path().join("pipe.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        let device = folder.path().join("zero.png");
        std::os::unix::fs::symlink("/dev/zero", &device)?;
        for (path, kind) in [(pipe.as_path(), "a named pipe"), (&device, "a device"), (folder.path(), "a folder")] {
            assert_eq!(open_regular(path).err(), Some(format!("is {kind}, expected a file")));
        }
        assert!(open_regular(&folder.path().join("none")).is_err_and(|why| why.starts_with("cannot be read: ")));
        Ok(())
    }
}
