//! A plugin crate on disk: looked over, compiled, tested.

use mrpf_api::export::{ManifestError, Stated};
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::cargo::{cargo, compiling};
use super::locate::Sdk;
use crate::files::sha256;
use crate::plugin_library::{Refusal, check_own_copy, remember, seal};

/// Crates that a plugin takes from the program and never brings along.
const OF_THE_PROGRAM: [&str; 5] = ["mrpf-api", "mrpf-dylib", "mrpf-host", "candle-core", "candle-nn"];

/// A folder with a `Cargo.toml`.
#[derive(Debug)]
pub struct PluginCrate {
    dir: PathBuf,
}

/// A compiled plugin library.
#[derive(Debug)]
pub struct Built {
    /// The library.
    pub library: PathBuf,
    /// Name of the crate.
    pub package: String,
    /// Its version.
    pub version: String,
}

impl PluginCrate {
    /// A crate in a folder.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is no `Cargo.toml`.
    pub fn open(dir: &Path) -> Result<Self> {
        match dir.canonicalize() {
            Ok(dir) if dir.join("Cargo.toml").is_file() => Ok(Self { dir }),
            found => {
                let why = if found.is_ok() { "has no Cargo.toml" } else { "does not exist" };
                Err(Error::new(ErrorKind::Io, format!("{} is no crate: it {why}", dir.display()))
                    .hint("name the folder of a plugin crate; `mrpf plugins new NAME --kind KIND` writes one"))
            }
        }
    }

    /// Compiles the crate against this very program, and seals what came out with a digest of it.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] if the compiler is missing, the crate does not compile, or the library lacks its manifest.
    pub fn build(&self, arguments: &[OsString]) -> Result<Built> {
        let about = || format!("building {}", self.dir.display());
        let sdk = Sdk::locate()?;
        self.refuse_own_api(&sdk).context(about)?;
        let mut command = cargo(&sdk, &self.dir, "rustc").context(about)?;
        compiling(&mut command, &sdk, &self.dir).args(["--crate-type", "cdylib"]).args(arguments);
        let output = captured(command.args(["--message-format", "json-render-diagnostics"])).context(about)?;
        refuse_compiled_copies(&output).context(about)?;
        let library = self
            .artifact(&output)
            .ok_or_else(|| Error::new(ErrorKind::Plugin, "cargo named no library").context(about()))?;
        seal(&library).context(about)?;
        let bytes = std::fs::read(&library).map_err(|error| Refusal::Unreadable(error).into_error(&library))?;
        let stated = Stated::find(&bytes).map_err(|error| match error {
            ManifestError::None => Refusal::NoManifest.into_error(&library),
            other => Error::new(ErrorKind::Plugin, format!("the manifest in it is of no use: {other:?}")),
        });
        let stated = stated.context(about)?;
        check_own_copy(&bytes, &stated).map_err(|refusal| refusal.into_error(&library)).context(about)?;
        // Who compiles a crate has run its code: its build script and its macros.
        remember(&sha256(&bytes), &library);
        Ok(Built { library, package: stated.package, version: stated.version })
    }

    /// Runs the crate's tests.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] if the compiler is missing, the crate does not compile, or a test fails.
    pub fn test(&self, arguments: &[OsString]) -> Result<()> {
        let about = || format!("testing {}", self.dir.display());
        let sdk = Sdk::locate()?;
        self.refuse_own_api(&sdk).context(about)?;
        let mut command = cargo(&sdk, &self.dir, "test").context(about)?;
        shown(compiling(&mut command, &sdk, &self.dir).args(arguments)).context(about)
    }

    /// A crate that depends on mrpf-api or Candle by itself would get a copy of its own.
    fn refuse_own_api(&self, sdk: &Sdk) -> Result<()> {
        let mut command = cargo(sdk, &self.dir, "tree")?;
        let output = captured(command.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]))?;
        let text = String::from_utf8_lossy(&output);
        let own = |line: &&str| OF_THE_PROGRAM.iter().any(|name| line.split(' ').next() == Some(name));
        match text.lines().find(own) {
            None => Ok(()),
            Some(found) => Err(carries(found)),
        }
    }

    /// The library among what cargo says it has made, one JSON object a line.
    fn artifact(&self, output: &[u8]) -> Option<PathBuf> {
        let manifest = self.dir.join("Cargo.toml");
        let lines = output.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let ours = lines.filter(|line| {
            line["reason"] == "compiler-artifact" && line["manifest_path"].as_str().map(Path::new) == Some(&manifest)
        });
        let files = ours.flat_map(|line| line["filenames"].as_array().cloned().unwrap_or_default());
        let files: Vec<PathBuf> = files.filter_map(|file| file.as_str().map(PathBuf::from)).collect();
        let is_library =
            |file: &&PathBuf| file.extension().is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION);
        files.iter().rev().find(is_library).cloned()
    }
}

/// Looks for them among all that cargo compiled: features given to it, and forks under other names, show only here.
fn refuse_compiled_copies(output: &[u8]) -> Result<()> {
    let lines = output.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    for line in lines.filter(|line| line["reason"] == "compiler-artifact") {
        let name = line["target"]["name"].as_str().unwrap_or_default().replace('_', "-");
        if OF_THE_PROGRAM.contains(&name.as_str()) {
            return Err(carries(line["package_id"].as_str().unwrap_or(&name)));
        }
    }
    Ok(())
}

fn carries(found: &str) -> Error {
    let message = format!("the crate depends on `{found}`, so that it would carry a copy of its own");
    Error::new(ErrorKind::Plugin, message)
        .hint("remove it from [dependencies]: `mrpf_api`, with `mrpf_api::candle_core`, comes from the program")
}

/// Runs cargo and takes what it says to programs; what it says to people goes straight to them.
fn captured(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&error))?;
    judge(output.status).map(|()| output.stdout)
}

/// Runs cargo and lets people see everything.
fn shown(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).status().map_err(|error| no_cargo(&error)).and_then(judge)
}

fn no_cargo(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Plugin, format!("cannot start cargo: {error}"))
        .hint("plugins are compiled by Rust: https://rustup.rs")
}

fn judge(status: ExitStatus) -> Result<()> {
    match status.success() {
        true => Ok(()),
        false => {
            let code = status.code().map_or("a signal".into(), |code| format!("exit code {code}"));
            Err(Error::new(ErrorKind::Plugin, format!("cargo ended with {code}")).hint("its messages are above"))
        }
    }
}
