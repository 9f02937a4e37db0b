//! What stands at a path, in words.

use std::fs::FileType;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// How a message names this type of file.
pub(super) fn named(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_char_device() {
            return "a device";
        }
        if kind.is_block_device() {
            return "a disk";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a file"
    } else {
        "neither a file nor a directory"
    }
}

/// Whether bytes written there go to whoever reads the other end: a terminal, `/dev/null`, a named pipe.
pub(super) fn is_stream(kind: FileType) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        kind.is_char_device() || kind.is_fifo()
    }
    #[cfg(not(unix))]
    {
        let _ = kind;
        false
    }
}

/// Whether the path is an open file of a process, as `/dev/stdout` and `/dev/fd/3` are.
pub(super) fn is_open_file(path: &Path) -> bool {
    let lies_there = |path: &Path| {
        let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
        folder.is_some_and(|folder| folder.starts_with("/proc") && folder.ends_with("fd"))
    };
    let leads_there = || {
        let target = std::fs::read_link(path).map(|target| path.parent().unwrap_or(Path::new("")).join(target));
        target.is_ok_and(|target| lies_there(&target))
    };
    lies_there(path) || leads_there()
}

/// The refusal of a file of the wrong type.
pub(super) fn refused(kind: FileType, expected: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("it is {}, expected {expected}", named(kind)))
}
