//! What the linker asks for besides the shared library: the native libraries that are behind it.
//!
//! The compiler names them wherever the shared library is linked against. A plugin takes nothing from them itself, and those of CUDA
//! need not be there when it is compiled; Candle's archive of kernels is in the shared library and nowhere else.

use mrpf_api::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Libraries of CUDA, and the archive of kernels that Candle's build makes.
const OF_CUDA: [&str; 8] = ["cuda", "cudart", "nvrtc", "curand", "cublas", "cublasLt", "cudnn", "moe"];

/// An archive without members.
const EMPTY: &[u8] = b"!<arch>\n";

/// A folder below `target` for the linker to look into, with an empty archive for each of these libraries; none where there are none.
///
/// # Errors
/// [`ErrorKind::Io`] if the folder cannot be written.
pub(super) fn stand_ins(target: &Path) -> Result<Option<PathBuf>> {
    if cfg!(feature = "cuda") { write(target).map(Some) } else { Ok(None) }
}

fn write(target: &Path) -> Result<PathBuf> {
    let folder = target.join("mrpf-native");
    let put = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        OF_CUDA.iter().try_for_each(|name| std::fs::write(folder.join(format!("lib{name}.a")), EMPTY))
    };
    put().map_err(|error| Error::new(ErrorKind::Io, format!("cannot write into {}: {error}", folder.display())))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Only the linker knows whether it takes them.
    #[test]
    fn a_program_links_against_them_and_takes_nothing() -> std::io::Result<()> {
        if !cfg!(target_os = "linux") {
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let natives = write(folder.path()).expect("the folder can be written");
        std::fs::write(folder.path().join("main.rs"), "fn main() {}")?;
        let mut rustc = Command::new("rustc");
        rustc.current_dir(folder.path()).arg("main.rs").arg("-L").arg(format!("native={}", natives.display()));
        let output = rustc.args(OF_CUDA.map(|name| format!("-ldylib={name}"))).output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(Command::new(folder.path().join("main")).status()?.success());
        Ok(())
    }
}
