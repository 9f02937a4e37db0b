//! Where plugin libraries are looked for when nobody names a file: `MRPF_PLUGIN_PATH` and the user's configuration folder.

use mrpf_api::registry::PluginLibrary;
use mrpf_api::{Error, Result};
use std::path::{Path, PathBuf};

use super::known;
use super::open::{open, opened};

/// The environment variable with files and folders, separated as in `PATH`.
pub const SEARCH_VARIABLE: &str = "MRPF_PLUGIN_PATH";

/// What the search came to.
#[derive(Debug, Default)]
pub struct Found {
    /// Libraries that lie in a searched place and were refused. Nobody asked for them by name, so they stop nothing.
    pub refused: Vec<Error>,
}

/// Opens a library at the user's word, and remembers its digest, so that settings which nobody named may ask for it.
///
/// # Errors
/// As [`open`].
pub fn open_named(path: &Path) -> Result<&'static PluginLibrary> {
    let library = open(path)?;
    known::remember(&library.sha256, &library.path);
    Ok(library)
}

/// Opens the given files, then everything in the searched places; all of them at the user's word.
///
/// # Errors
/// If a given file, or a file named in [`SEARCH_VARIABLE`], is refused.
pub fn load(files: &[PathBuf]) -> Result<Found> {
    for file in files {
        open(file)?;
    }
    let mut found = Found::default();
    let variable = std::env::var_os(SEARCH_VARIABLE).unwrap_or_default();
    for place in std::env::split_paths(&variable).filter(|place| !place.as_os_str().is_empty()) {
        if place.is_dir() {
            found.open_all(&place);
        } else {
            open(&place).map_err(|error| error.context(SEARCH_VARIABLE))?;
        }
    }
    if let Some(folder) = user_folder().filter(|folder| folder.is_dir()) {
        found.open_all(&folder);
    }
    known::remember_all(&opened());
    Ok(found)
}

/// The folder of the user's own plugins, for example `~/.config/mrpf/plugins`.
pub fn user_folder() -> Option<PathBuf> {
    dirs::config_dir().map(|folder| folder.join("mrpf").join("plugins"))
}

/// The libraries in a folder, by name; not in the folders inside it.
pub fn library_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION));
    files.sort();
    Ok(files)
}

impl Found {
    fn open_all(&mut self, folder: &Path) {
        match library_files(folder) {
            Ok(files) => self.refused.extend(files.iter().filter_map(|file| open(file).err())),
            Err(error) => self.refused.push(Error::new(
                mrpf_api::ErrorKind::Io,
                format!("cannot read the plugin folder {}: {error}", folder.display()),
            )),
        }
    }
}
