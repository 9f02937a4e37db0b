//! The crate that `mrpf plugins new` writes.

use mrpf_api::registry::{Kind, registrations};
use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;

use crate::files::write_output;

const MANIFEST: &str = include_str!("../../templates/plugin/Cargo.toml");

/// The name that stands in the templates for the plugin's.
const NAME: &str = "plugin-name";

/// The type name that stands in the templates for the plugin's.
const TYPE: &str = "PluginName";

/// Writes a crate with one plugin.
///
/// # Errors
/// [`ErrorKind::Settings`] if the name is none for a crate, [`ErrorKind::Io`] if the folder is not empty or cannot be written.
pub fn write_crate(name: &str, kind: Kind, dir: &Path) -> Result<()> {
    check_name(name)?;
    if registrations().iter().any(|plugin| plugin.kind() == kind && plugin.name == name) {
        let message = format!("{} `{name}` is there already, and the new one could not stand beside it", kind.name());
        return Err(Error::new(ErrorKind::Settings, message).hint("choose another name"));
    }
    if dir.is_file() || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} exists already and is not an empty folder", dir.display());
        return Err(Error::new(ErrorKind::Io, message).hint("name another folder with --dir"));
    }
    let fill = |template: &str| template.replace(NAME, name).replace(TYPE, &type_name(name));
    write_output(&dir.join("Cargo.toml"), fill(MANIFEST).as_bytes())?;
    write_output(&dir.join("src").join("lib.rs"), fill(source(kind)).as_bytes())?;
    write_output(&dir.join(".gitignore"), b"/target\n")
}

fn source(kind: Kind) -> &'static str {
    match kind {
        Kind::DataSet => include_str!("../../templates/plugin/dataset.rs"),
        Kind::Architecture => include_str!("../../templates/plugin/architecture.rs"),
        Kind::Trainer => include_str!("../../templates/plugin/trainer.rs"),
        Kind::Sensitivity => include_str!("../../templates/plugin/metric.rs"),
        Kind::Criterion => include_str!("../../templates/plugin/criterion.rs"),
        Kind::Allocation => include_str!("../../templates/plugin/allocation.rs"),
        Kind::Schedule => include_str!("../../templates/plugin/schedule.rs"),
        Kind::Attack => include_str!("../../templates/plugin/attack.rs"),
    }
}

/// Rust's keywords, also those it keeps for later, which no crate can be called.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// A crate's name: small letters, digits and single hyphens, a letter first.
fn check_name(name: &str) -> Result<()> {
    let wrong = |found: &str| {
        let message = format!("`{name}` {found}, expected small letters, digits and hyphens such as my-trainer");
        Err(Error::new(ErrorKind::Settings, message))
    };
    // The crate `mrpf_api` is the program's, and a crate cannot be called like one that it uses.
    const TAKEN: &[&str] = &["mrpf-api", "mrpf-host", "mrpf-dylib", "std", "core", "alloc", "test", "proc-macro"];
    match name {
        _ if !name.starts_with(|first: char| first.is_ascii_lowercase()) => wrong("does not begin with a small letter"),
        _ if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') => {
            wrong("has other characters in it")
        }
        _ if name.ends_with('-') || name.contains("--") => wrong("has a hyphen in the wrong place"),
        _ if name.len() > 64 => wrong("is longer than 64 characters"),
        _ if TAKEN.contains(&name) => wrong("is taken"),
        _ if KEYWORDS.contains(&name) => wrong("is a word of Rust itself"),
        _ => Ok(()),
    }
}

/// `my-trainer` as `MyTrainer`.
fn type_name(name: &str) -> String {
    let capitalised = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').map(capitalised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates() {
        for name in ["my-trainer", "a", "l1-norm2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "My", "1st", "a_b", "a b", "a--b", "a-", "../a", "std", "self", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert_eq!(type_name("my-2nd-trainer"), "My2ndTrainer");
    }

    #[test]
    fn every_kind_has_a_template_that_announces_and_exports_it() {
        for kind in Kind::ALL {
            let text = source(*kind);
            assert!(
                text.contains(&format!("kind: {kind:?},")) && text.contains(&format!("name: \"{NAME}\",")),
                "{kind:?}"
            );
            assert!(text.contains("export_plugin!();") && text.contains("#[test]"), "{kind:?}");
        }
    }

    #[test]
    fn nothing_is_written_over() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        write_crate("mine", Kind::Trainer, folder.path())?;
        let error = write_crate("l1-norm", Kind::Criterion, folder.path()).expect_err("it is taken");
        assert!(error.to_string().starts_with("criterion `l1-norm` is there already"), "{error}");
        let error = write_crate("mine", Kind::Trainer, folder.path()).expect_err("it is there");
        assert!(error.to_string().ends_with("exists already and is not an empty folder"), "{error}");
        Ok(())
    }
}
