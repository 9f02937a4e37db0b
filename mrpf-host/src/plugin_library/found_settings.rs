//! Libraries that settings ask for which nobody named: those beside a saved network, and those of a run that is gone on with.
//!
//! Such files may come from anybody, and opening a library runs its code. So what they ask for is opened only if the user named the
//! same library, now or before; otherwise it is listed, with the option that allows it.

use mrpf_api::registry::PluginLibrary;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

use super::open::{Consent, Outcome, open_with, opened};
use super::{known, shell};

/// A library that was asked for and not opened.
struct Asked<'a> {
    path: &'a Path,
    /// `None` if there is no such file here.
    sha256: Option<String>,
}

/// The libraries at `paths`, which the file `settings` asks for.
///
/// # Errors
/// [`ErrorKind::Plugin`] naming those that the user has not named; and as [`super::open`].
pub fn open_found(paths: &[PathBuf], settings: &Path) -> Result<Vec<&'static PluginLibrary>> {
    let about = || format!("{} asks for it", settings.display());
    let known = |sha256: &str| known::is_known(sha256);
    let (mut libraries, mut asked, mut missing) = (Vec::new(), Vec::new(), None);
    for path in paths {
        match open_with(path, Consent::ForDigests(&known)) {
            Ok(Outcome::Opened(library)) => libraries.push(library),
            Ok(Outcome::NotNamed { sha256 }) => asked.push(Asked { path, sha256: Some(sha256) }),
            Err(error) if path.exists() => return Err(error).context(about),
            Err(error) => match named_elsewhere(path, settings) {
                Some(library) => libraries.push(library),
                None => {
                    asked.push(Asked { path, sha256: None });
                    missing = Some(error);
                }
            },
        }
    }
    match missing {
        _ if asked.is_empty() => Ok(libraries),
        // Where there is nothing to be named, the file itself is what is wrong.
        Some(error) if asked.iter().all(|asked| asked.sha256.is_none()) => Err(error).context(about),
        _ => Err(refuse(&asked, settings)),
    }
}

/// A library that the user opened from another place than the run did: the run's record says which bytes it was.
fn named_elsewhere(path: &Path, settings: &Path) -> Option<&'static PluginLibrary> {
    let record: Value = serde_json::from_slice(&std::fs::read(settings.with_file_name("run.json")).ok()?).ok()?;
    let libraries = record["libraries"].as_array()?;
    let recorded = libraries.iter().find(|library| library["path"].as_str().map(Path::new) == Some(path))?;
    let sha256 = recorded["sha256"].as_str()?;
    opened().into_iter().find(|library| library.sha256 == sha256)
}

fn refuse(asked: &[Asked<'_>], settings: &Path) -> Error {
    let line = |Asked { path, sha256 }: &Asked<'_>| {
        let shown = path.display().to_string();
        match sha256 {
            Some(sha256) => format!("\n  {}  sha256 {sha256}", shown.escape_debug()),
            None => format!("\n  {}  (not there)", shown.escape_debug()),
        }
    };
    let lines: String = asked.iter().map(line).collect();
    let message = format!(
        "{} asks for plugin libraries that you have not named; nothing of them was run{lines}",
        settings.display()
    );
    let there = asked.iter().filter(|asked| asked.sha256.is_some());
    let options: Option<Vec<String>> =
        there.map(|asked| shell::word(asked.path).map(|path| format!("--plugin {path}"))).collect();
    let hint = "a plugin can do all that you can; if you know where these come from, add";
    let error = Error::new(ErrorKind::Plugin, message);
    match options {
        Some(options) => error.hint(format!("{hint} {}", options.join(" "))),
        // A name that no shell takes as it is printed.
        None => error.hint(format!("{hint} --plugin FILE for each")),
    }
}
