//! `SHA256SUMS`: digests of the files that a comparison ends with, as `sha256sum --check` reads them.

use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;

use crate::files::{read_if_there, sha256, write_atomically};

const FILE: &str = "SHA256SUMS";
const RESULTS: [&str; 6] =
    ["report.html", "report.md", "report.tex", "results.csv", "results.json", super::database::FILE];

/// Writes the digests of what lies in `directory`.
///
/// # Errors
/// [`ErrorKind::Io`] if a file cannot be read, or the digests cannot be written.
pub fn write_digests(directory: &Path) -> Result<()> {
    let mut text = String::new();
    for name in RESULTS {
        if let Some(bytes) = read_if_there(&directory.join(name))? {
            text.push_str(&format!("{}  {name}\n", sha256(&bytes)));
        }
    }
    write_atomically(&directory.join(FILE), text.as_bytes())
}

/// Checks that `bytes`, read from a file of the comparison, are those that were written. Where no digest is known, there is nothing to
/// check.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if it is another.
pub fn check_digest(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let sums = read_if_there(&directory.join(FILE))?.unwrap_or_default();
    let sums = String::from_utf8_lossy(&sums);
    let written = sums.lines().find_map(|line| line.split_once("  ").filter(|(_, of)| *of == name));
    match written {
        Some((written, _)) if written != sha256(bytes) => {
            let path = directory.join(name);
            let message = format!("{} is damaged: its SHA-256 is not the one in {FILE}", path.display());
            Err(Error::new(ErrorKind::Checkpoint, message).hint("the same `mrpf compare` writes it anew"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_result_is_noticed() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("results.csv"), "a,b\n1,2\n")?;
        check_digest(folder.path(), "results.csv", b"a,b\n1,2\n")?;
        write_digests(folder.path())?;
        check_digest(folder.path(), "results.csv", b"a,b\n1,2\n")?;
        check_digest(folder.path(), "results.json", b"{}")?;
        let error = check_digest(folder.path(), "results.csv", b"a,b\n1,3\n").expect_err("changed");
        assert!(error.to_string().ends_with("its SHA-256 is not the one in SHA256SUMS"), "{error}");
        Ok(())
    }
}
