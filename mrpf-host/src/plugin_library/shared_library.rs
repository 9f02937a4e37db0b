//! The shared library that holds mrpf-api and Candle for the program and its plugins.

use mrpf_api::export::{ANCHOR, HostBuild};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::system::file_of;
use crate::files::sha256;

/// The shared library that this process uses.
#[derive(Debug)]
pub struct SharedLibrary {
    /// The file.
    pub path: PathBuf,
    /// What a plugin must have been built against, the file's SHA-256 among it.
    pub build: HostBuild,
}

/// The shared library of this process; `None` if mrpf-api is part of the program itself.
pub fn shared_library() -> Option<&'static SharedLibrary> {
    static FOUND: OnceLock<Option<SharedLibrary>> = OnceLock::new();
    FOUND.get_or_init(find).as_ref()
}

fn find() -> Option<SharedLibrary> {
    let path = file_of(&ANCHOR)?;
    let program = std::env::current_exe().ok().and_then(|program| program.canonicalize().ok());
    if program.as_deref() == Some(Path::new(&path)) {
        return None;
    }
    let bytes = std::fs::read(&path).ok()?;
    Some(SharedLibrary { build: HostBuild::of_this_copy(sha256(&bytes)), path })
}
