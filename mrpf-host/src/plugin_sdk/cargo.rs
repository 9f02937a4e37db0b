//! The cargo command that compiles against the shared library, with the compiler that made it.

use mrpf_api::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::locate::Sdk;
use super::native::stand_ins;
use mrpf_api::export::LIBRARY_ID_VARIABLE;

/// Variables by which a user's or an outer cargo's settings would change what is built, or where.
const UNSET: &[&str] = &[
    "RUSTC",
    "RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_PKG_NAME",
    "CARGO_PRIMARY_PACKAGE",
];

/// `cargo SUBCOMMAND` in `dir`, set up so that `mrpf_api` is the shared library.
///
/// # Errors
/// [`ErrorKind::Plugin`] if the compiler that made this program is not installed; [`ErrorKind::Io`] if the crate's target folder cannot
/// be written.
pub(super) fn cargo(sdk: &Sdk, dir: &Path, subcommand: &str) -> Result<Command> {
    let mut command = tool("cargo", dir, toolchain(sdk, dir)?.as_deref());
    command.arg(subcommand);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags(sdk, stand_ins(&target(dir))?))
        .env(LIBRARY_ID_VARIABLE, &sdk.library.build.library);
    let path = if cfg!(target_os = "macos") { "DYLD_FALLBACK_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    // The crate's tests are programs of their own and find the shared library by this.
    let before = std::env::var_os(path).unwrap_or_default();
    let folder = sdk.library.path.parent().map(Path::to_owned);
    if let Ok(joined) = std::env::join_paths(folder.into_iter().chain(std::env::split_paths(&before))) {
        command.env(path, joined);
    }
    Ok(command)
}

/// What a subcommand that compiles is told: the crate's own target folder, never the one that this program was built in.
///
/// A named target keeps the flags away from build scripts and procedural macros.
pub(super) fn compiling<'a>(command: &'a mut Command, sdk: &Sdk, dir: &Path) -> &'a mut Command {
    command.args(["--release", "--lib", "--target", &sdk.library.build.target]).arg("--target-dir").arg(target(dir))
}

/// The crate's own target folder.
fn target(dir: &Path) -> PathBuf {
    dir.join("target")
}

/// `--extern mrpf_api=<library> -L dependency=<metadata> -L native=<natives>`, then the user's own flags, separated as cargo wants it.
fn flags(sdk: &Sdk, natives: Option<PathBuf>) -> OsString {
    let mut external = OsString::from("mrpf_api=");
    external.push(&sdk.library.path);
    let mut dependencies = OsString::from("dependency=");
    dependencies.push(&sdk.metadata);
    let natives = natives.into_iter().flat_map(|folder| {
        let mut native = OsString::from("native=");
        native.push(folder);
        ["-L".into(), native]
    });
    let users = std::env::var("RUSTFLAGS").unwrap_or_default();
    let users = users.split_whitespace().map(OsString::from);
    let all: Vec<OsString> =
        ["--extern".into(), external, "-L".into(), dependencies].into_iter().chain(natives).chain(users).collect();
    all.join(std::ffi::OsStr::new("\x1f"))
}

/// Which rustup toolchain has the compiler that made this program; `None` if it is the one that is used anyway.
fn toolchain(sdk: &Sdk, dir: &Path) -> Result<Option<String>> {
    let wanted = &sdk.library.build.compiler;
    let release = wanted.split(' ').nth(1).unwrap_or("stable").to_owned();
    let version = |toolchain: Option<&str>| {
        let output = tool("rustc", dir, toolchain).arg("-V").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let usual = version(None);
    if usual.as_deref() == Some(wanted) {
        return Ok(None);
    }
    for candidate in [release.as_str(), "stable"] {
        if version(Some(candidate)).as_deref() == Some(wanted) {
            return Ok(Some(candidate.to_owned()));
        }
    }
    let found = match usual.as_deref() {
        None => "no rustc".to_owned(),
        Some("") => "a rustc that does not start".to_owned(),
        Some(found) => format!("`{found}`"),
    };
    let message =
        format!("found {found}, but a plugin must be compiled by the compiler that made this mrpf, `{wanted}`");
    Err(Error::new(ErrorKind::Plugin, message).hint(format!("rustup toolchain install {release}")))
}

fn tool(name: &str, dir: &Path, toolchain: Option<&str>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(dir);
    UNSET.iter().for_each(|variable| {
        command.env_remove(variable);
    });
    if let Some(toolchain) = toolchain {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    command
}
