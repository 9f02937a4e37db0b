//! The page in a real browser: it loads nothing, sorts, and fits a phone.
//!
//! Runs where there is a Chromium (named by MRPF_CHROMIUM, or `chromium`, `chromium-browser` or `google-chrome` on PATH) and a Python 3
//! (MRPF_PYTHON, or `python3` on PATH). Set MRPF_SCREENSHOTS to a folder to keep the pictures.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{everything, with_networks};
use crate::comparison::page::write_page;

/// The program that the variable names, or the first of `names` on PATH.
fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

#[test]
fn a_browser_shows_the_page_without_a_complaint() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let chromium = program("MRPF_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"]);
    let (Some(chromium), Some(python)) = (chromium, program("MRPF_PYTHON", &["python3"])) else {
        println!("not run: there is no Chromium or no Python; set MRPF_CHROMIUM and MRPF_PYTHON");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let mut findings = everything()?;
    // As long as names get.
    findings.experiment.name = "a-comparison-with-a-rather-long-name-on-a-small-screen".into();
    with_networks(&mut findings, folder.path())?;
    write_page(&findings, folder.path(), folder.path())?;
    let pictures = std::env::var_os("MRPF_SCREENSHOTS").map_or_else(|| folder.path().join("pictures"), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/page/browser.py");
    let output =
        Command::new(python).arg(script).arg(chromium).arg(folder.path().join("report.html")).arg(pictures).output()?;
    let told = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{told}");
    Ok(())
}
