//! Where a registered plugin comes from: the program itself, or a library opened while it runs.

use std::path::PathBuf;
use std::sync::OnceLock;

/// A plugin library that was opened; it stays open until the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLibrary {
    /// The file, as an absolute path without links.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The crate that it was built from.
    pub package: String,
    /// Version of that crate.
    pub version: String,
}

/// Where a registration comes from. Set once, by the host, after it has opened a library.
#[derive(Debug, Default)]
pub struct Origin(OnceLock<Place>);

#[derive(Debug)]
enum Place {
    Library(&'static PluginLibrary),
    Refused,
}

impl Origin {
    /// Part of the program, until the host says otherwise.
    pub const fn built_in() -> Self {
        Self(OnceLock::new())
    }

    /// Says that the registration came with a library.
    pub fn set_library(&self, library: &'static PluginLibrary) {
        let _ = self.0.set(Place::Library(library));
    }

    /// Says that the library was refused after it had been opened: the registration is never shown or made.
    pub fn refuse(&self) {
        let _ = self.0.set(Place::Refused);
    }

    /// The library that it came with; `None` if it is part of the program.
    pub fn library(&self) -> Option<&'static PluginLibrary> {
        match self.0.get() {
            Some(Place::Library(library)) => Some(library),
            _ => None,
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self.0.get(), Some(Place::Refused))
    }
}
