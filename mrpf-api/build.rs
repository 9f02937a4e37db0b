//! The fingerprint of this very build of mrpf-api, by which a run-time plugin made against another one is told; see `src/export`.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

const UNKNOWN: &str = "unknown";

fn main() {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let lock_file = folder.join("../Cargo.lock");
    let lock = std::fs::read_to_string(&lock_file).unwrap_or_default();
    println!("cargo:rerun-if-changed=src");
    if lock_file.is_file() {
        println!("cargo:rerun-if-changed={}", lock_file.display());
    }
    for (name, value) in [
        ("COMPILER", compiler()),
        ("CANDLE", locked_version(&lock, "candle-core")),
        ("TARGET", std::env::var("TARGET").unwrap_or_else(|_| UNKNOWN.into())),
        ("FEATURES", features()),
        ("API", sources(&folder)),
        ("LOCK", if lock.is_empty() { UNKNOWN.into() } else { hex(Sha256::digest(lock.as_bytes()).as_ref()) }),
    ] {
        println!("cargo:rustc-env=MRPF_BUILD_{name}={value}");
    }
}

/// `rustc 1.95.0 (59807616e 2026-04-14)`.
fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-V").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    if text.trim().is_empty() { UNKNOWN.into() } else { text.trim().to_owned() }
}

/// The version of a package in a lock file.
fn locked_version(lock: &str, package: &str) -> String {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")));
    let line = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = \"")));
    line.map_or(UNKNOWN.into(), |version| version.trim_end_matches('"').to_owned())
}

/// The features of this crate that are switched on, by name.
fn features() -> String {
    let mut names: Vec<String> = std::env::vars()
        .filter_map(|(key, _)| Some(key.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-")))
        .collect();
    names.sort();
    if names.is_empty() { "none".into() } else { names.join(",") }
}

/// One hash over every source file with its name, in the order of the names.
fn sources(folder: &Path) -> String {
    let (mut files, mut folders) = (Vec::new(), vec![folder.join("src")]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.push(folder.join("Cargo.toml"));
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let text = std::fs::read(&file).unwrap_or_default();
        // The lengths keep a name and a text from running into each other.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(&text);
    }
    hex(hash.finalize().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
