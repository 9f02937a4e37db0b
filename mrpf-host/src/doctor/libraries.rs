//! Libraries of CUDA, found by looking into folders: nothing is opened, so that nothing can fail.

use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files::path_text;

/// A library of CUDA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Its name without a version, such as `libcudnn`.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Where it lies.
    pub found: Vec<Place>,
}

/// A file of a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    #[serde(serialize_with = "path_text::shown")]
    pub path: PathBuf,
    /// Whether the system's loader looks there by itself.
    pub is_searched: bool,
    /// Whether it is a stub, made for linking only.
    pub is_stub: bool,
}

impl Library {
    /// Whether it is there, and the loader would not find it.
    pub fn is_hidden(&self) -> bool {
        !self.found.is_empty() && self.found.iter().all(|place| !place.is_searched)
    }
}

const LIBRARIES: [(&str, &str); 7] = [
    ("libcuda", "the driver"),
    ("libcudart", "the runtime"),
    ("libcublas", "products of matrices"),
    ("libcublasLt", "products of matrices, used by libcublas"),
    ("libcurand", "random numbers; linked by Candle"),
    ("libcudnn", "convolutions"),
    ("libnvrtc", "compiles kernels; used by libcudnn"),
];

/// Folders that a loader searches on common systems, or that toolkits announce to it.
const SYSTEM: [&str; 9] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/lib/wsl/lib",
];

/// Folders of CUDA toolkits, which a loader searches where somebody has told it to.
const TOOLKITS: [&str; 5] = [
    "/usr/local/cuda/lib64",
    "/usr/local/cuda/targets/x86_64-linux/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/opt/cuda/lib64",
];

/// Where scripts/cuda/run.sh takes from what is missing, so that the program starts all the same: nothing there counts as found.
const STAND_INS: &str = "stand-ins";

/// Looks for all of them.
pub fn find() -> Vec<Library> {
    let listed = |variable: &str| -> Vec<PathBuf> {
        std::env::var_os(variable).map(|value| std::env::split_paths(&value).collect()).unwrap_or_default()
    };
    let mut searched = listed("LD_LIBRARY_PATH");
    searched.extend(SYSTEM.map(PathBuf::from));
    let mut others: Vec<PathBuf> = TOOLKITS.map(PathBuf::from).into();
    others.extend(listed("CUDA_HOME").into_iter().flat_map(|home| [home.join("lib64"), home.join("lib")]));
    others.extend(listed("VIRTUAL_ENV").iter().flat_map(|environment| wheels(environment)));
    find_in(&searched, &others)
}

/// The folders of NVIDIA's packages in a Python environment.
fn wheels(environment: &Path) -> Vec<PathBuf> {
    let inside = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut entries: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        entries.sort();
        entries
    };
    let pythons = inside(environment.join("lib"));
    let packages = pythons.into_iter().flat_map(|python| inside(python.join("site-packages/nvidia")));
    packages.map(|package| package.join("lib")).filter(|folder| folder.is_dir()).collect()
}

fn find_in(searched: &[PathBuf], others: &[PathBuf]) -> Vec<Library> {
    let mut libraries: Vec<Library> = LIBRARIES
        .iter()
        .map(|(name, purpose)| Library { name: (*name).into(), purpose: (*purpose).into(), found: Vec::new() })
        .collect();
    let mut seen = BTreeSet::new();
    let folders = searched.iter().map(|folder| (folder, true)).chain(others.iter().map(|folder| (folder, false)));
    for (folder, is_searched) in folders {
        if folder.ends_with(STAND_INS) {
            continue;
        }
        // /lib is often a link to /usr/lib.
        let Ok(real) = folder.canonicalize() else { continue };
        if !seen.insert(real) {
            continue;
        }
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        for path in files {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Some((name, _)) = file.split_once(".so") else { continue };
            if let Some(library) = libraries.iter_mut().find(|library| library.name == name) {
                let is_stub = path.components().any(|part| part.as_os_str() == "stubs");
                library.found.push(Place { path, is_searched, is_stub });
            }
        }
    }
    libraries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_with_where_they_lie() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let [near, stubs, far, stand_ins] = ["near", "stubs", "far", "stand-ins"].map(|name| folder.path().join(name));
        for folder in [&near, &stubs, &far, &stand_ins] {
            std::fs::create_dir(folder)?;
        }
        for file in [
            near.join("libcudart.so.13"),
            stubs.join("libcuda.so.1"),
            far.join("libcudnn.so.9"),
            stand_ins.join("libnvrtc.so.13"),
        ] {
            std::fs::write(file, "")?;
        }
        std::fs::write(near.join("libcudnn_graph.so.9"), "")?;
        let missing = folder.path().join("missing");
        let found = find_in(&[near.clone(), stubs, missing, stand_ins], &[far, near]);
        let of = |name: &str| found.iter().find(|library| library.name == name).cloned();
        let places = |name: &str| of(name).map_or(0, |library| library.found.len());
        assert_eq!(["libcudart", "libcuda", "libcudnn", "libnvrtc"].map(places), [1, 1, 1, 0]);
        assert!(of("libcudnn").is_some_and(|library| library.is_hidden()));
        assert!(of("libcuda").is_some_and(|library| library.found[0].is_stub && library.found[0].is_searched));
        assert!(of("libnvrtc").is_some_and(|library| !library.is_hidden()));
        Ok(())
    }

    #[test]
    fn packages_of_a_python_environment_are_looked_into() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let lib = folder.path().join("lib/python3.12/site-packages/nvidia/cudnn/lib");
        std::fs::create_dir_all(&lib)?;
        assert_eq!(wheels(folder.path()), [lib]);
        Ok(())
    }
}
