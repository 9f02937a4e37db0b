//! Where the files are that plugins are compiled against.

use mrpf_api::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use crate::plugin_library::{SharedLibrary, shared_library};

/// The files that plugins are compiled against.
#[derive(Debug)]
pub struct Sdk {
    /// The shared library that this process uses.
    pub library: &'static SharedLibrary,
    /// The folder with the compiler's metadata of every crate in it.
    pub metadata: PathBuf,
}

impl Sdk {
    /// Finds them beside the shared library: in a build folder, or in the installed folder that `scripts/dist` makes.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] if this program is static, or was installed without them.
    pub fn locate() -> Result<Self> {
        let library = shared_library().ok_or_else(|| {
            Error::new(
                ErrorKind::Plugin,
                "this mrpf holds mrpf-api and Candle in itself, plugins cannot be built for it",
            )
            .hint("build mrpf with its default features, or take the folder that scripts/dist makes")
        })?;
        let beside = library.path.parent().unwrap_or(Path::new("."));
        let places = [beside.join("deps"), beside.join("mrpf-sdk"), beside.to_owned()];
        let metadata = places.iter().find(|place| holds_metadata(place)).cloned().ok_or_else(|| {
            let message = format!("no compiler metadata of mrpf-api beside {}", library.path.display());
            Error::new(ErrorKind::Plugin, message)
                .hint("install mrpf as the whole folder that scripts/dist makes, with lib/mrpf-sdk in it")
        })?;
        Ok(Self { library, metadata })
    }
}

fn holds_metadata(folder: &Path) -> bool {
    let is_metadata = |name: &str| name.starts_with("libmrpf_api-") && name.ends_with(".rmeta");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_str().is_some_and(is_metadata))
}
