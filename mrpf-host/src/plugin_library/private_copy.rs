//! The bytes that were checked, where the system's loader finds them and nobody can change them any more.
//!
//! On Linux they lie in memory, sealed. Elsewhere, or where the system does not allow that, they lie in a new folder that only the
//! user can enter.

use std::io::{Result, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A copy for the loader.
pub(super) struct PrivateCopy {
    path: PathBuf,
    // What the path needs to lead somewhere.
    _held: Held,
}

enum Held {
    #[cfg(all(target_os = "linux", feature = "dynamic-plugins"))]
    Memory {
        _file: std::fs::File,
    },
    Folder {
        _folder: TempDir,
    },
}

impl PrivateCopy {
    /// Copies the bytes of the library that is called `name`.
    pub fn of(bytes: &[u8], name: &str) -> Result<Self> {
        #[cfg(all(target_os = "linux", feature = "dynamic-plugins"))]
        if let Ok(copy) = in_memory(bytes, name) {
            return Ok(copy);
        }
        in_folder(bytes, name)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the path taken for good. The loader knows a library by its path: another one under the same path would be taken for it.
    pub fn keep(self) {
        match self._held {
            #[cfg(all(target_os = "linux", feature = "dynamic-plugins"))]
            Held::Memory { _file } => std::mem::forget(_file),
            // The name is random; the file itself is of no use any more.
            Held::Folder { .. } => {}
        }
    }
}

#[cfg(all(target_os = "linux", feature = "dynamic-plugins"))]
fn in_memory(bytes: &[u8], name: &str) -> Result<PrivateCopy> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::os::fd::AsRawFd;
    // The name is only shown, by debuggers for example.
    let name: String = name.chars().filter(|&c| c != '\0').take(60).collect();
    let mut file =
        std::fs::File::from(memfd_create(name.as_str(), MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    path.metadata()?;
    Ok(PrivateCopy { path, _held: Held::Memory { _file: file } })
}

fn in_folder(bytes: &[u8], name: &str) -> Result<PrivateCopy> {
    // Only the user can enter a folder that is made by this.
    let folder = tempfile::Builder::new().prefix("mrpf-plugin-").tempdir()?;
    let path = folder.path().join(name);
    std::fs::File::create_new(&path)?.write_all(bytes)?;
    Ok(PrivateCopy { path, _held: Held::Folder { _folder: folder } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_the_bytes_and_goes_with_its_owner() -> Result<()> {
        for make in [PrivateCopy::of, in_folder] {
            let copy = make(b"library", "libmine.so")?;
            assert_eq!(std::fs::read(copy.path())?, b"library");
        }
        let copy = in_folder(b"library", "libmine.so")?;
        let path = copy.path().to_owned();
        drop(copy);
        assert!(!path.exists());
        Ok(())
    }

    #[cfg(all(target_os = "linux", feature = "dynamic-plugins"))]
    #[test]
    fn nobody_can_write_to_a_copy_in_memory() -> Result<()> {
        let copy = in_memory(b"library", "libmine.so")?;
        let written = std::fs::File::options().write(true).open(copy.path()).and_then(|mut file| file.write_all(b"x"));
        assert!(written.is_err());
        assert_eq!(std::fs::read(copy.path())?, b"library");
        Ok(())
    }
}
