//! Why a library is not taken: one case for each thing that can be wrong, with what mends it.

use mrpf_api::export::{Difference, GENERATION};
use mrpf_api::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a library is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// Something else than a regular file, for example a folder.
    NotAFile(&'static str),
    /// Somebody else than the user and root may change the file, or put another one in its place.
    Writable {
        /// The file, or a folder above it.
        path: PathBuf,
        /// Who may.
        by: WritableBy,
    },
    /// The file, or a folder above it, belongs to somebody else than the user and root.
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// Its owner's name.
        owner: String,
    },
    /// Another file was put in its place while it was looked at.
    Replaced,
    /// No library of this system.
    NotALibrary(String),
    /// A library whose end is missing.
    Truncated(String),
    /// A library without a manifest.
    NoManifest,
    /// A manifest that this program does not understand.
    OtherGeneration(String),
    /// A manifest that cannot be read.
    DamagedManifest(String),
    /// Its digest was never written.
    Unsealed,
    /// Its bytes are not those that it was built with.
    Changed,
    /// Built against something else.
    DoesNotFit {
        /// The plugin's crate and version.
        plugin: String,
        /// Everything that differs.
        differences: Vec<Difference>,
    },
    /// It carries its own copy of mrpf-api and Candle.
    OwnCopy {
        /// The plugin's crate and version.
        plugin: String,
        /// What showed it.
        proof: Proof,
    },
    /// This program has no shared library that a plugin could use.
    StaticProgram,
    /// The system's loader refused it.
    CannotOpen(String),
    /// It does not show the symbol that its manifest names.
    NoSymbol(String),
    /// It registered no plugin.
    NothingRegistered(String),
    /// What it registered is broken: a panic, or settings that contradict themselves.
    BrokenRegistration {
        /// The plugin's crate and version.
        plugin: String,
        /// What went wrong.
        error: Error,
    },
    /// A plugin of that kind and name is there already.
    NameTaken {
        /// The kind and name, for example "trainer `trades`".
        plugin: String,
        /// Where the first comes from.
        first: String,
        /// Where the second comes from.
        second: String,
    },
}

/// What showed that a library has its own copy of mrpf-api and Candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its manifest says so.
    Manifest,
    /// It defines what is in this crate once.
    Symbols(&'static str),
    /// It sees the anchor at another address than the program.
    Anchor,
}

/// Who may change a file beside its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WritableBy {
    /// Every user of the machine.
    Everybody,
    /// The members of a group.
    Group(String),
    /// Those that its access control list names.
    AccessList,
}

impl Refusal {
    /// The refusal of the library at `path` as an error that says what to do next.
    pub fn into_error(self, path: &Path) -> Error {
        let kind = match &self {
            Self::Unreadable(_) | Self::NotAFile(_) | Self::Writable { .. } | Self::Foreign { .. } | Self::Replaced => {
                ErrorKind::Io
            }
            _ => ErrorKind::Plugin,
        };
        let hint = self.hint(path);
        Error::new(kind, self.message()).hint(hint).context(format!("plugin library {}", path.display()))
    }

    fn message(&self) -> String {
        match self {
            Self::Unreadable(error) => format!("cannot be read: {error}"),
            Self::NotAFile(what) => format!("found {what}, expected a regular file"),
            Self::Writable { path, by } => {
                let by = match by {
                    WritableBy::Everybody => "every user of this machine".into(),
                    WritableBy::Group(group) => format!("all members of the group {group}"),
                    WritableBy::AccessList => "those in its access control list".into(),
                };
                format!("{} can be changed by {by}", path.display())
            }
            Self::Foreign { path, owner } => {
                format!("{} belongs to {owner}, who can change it; expected you or root", path.display())
            }
            Self::Replaced => "another file was put in its place while it was looked at".into(),
            Self::NotALibrary(why) => format!("not a library of this system: {why}"),
            Self::Truncated(why) => format!("the file is not whole: {why}"),
            Self::NoManifest => "a library, but no plugin of mrpf: it has no manifest".into(),
            Self::OtherGeneration(found) => {
                format!("its manifest is of generation {found}, this mrpf reads generation {GENERATION}")
            }
            Self::DamagedManifest(what) => format!("its manifest is damaged: `{what}` is missing"),
            Self::Unsealed => "it has no digest, by which damage could be told".into(),
            Self::Changed => "the file is damaged: its bytes are not those that it was built with".into(),
            Self::DoesNotFit { plugin, differences } => {
                let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
                format!("{plugin} was not built against this mrpf; {}", differences.join("; "))
            }
            Self::OwnCopy { plugin, proof } => {
                let (of, proof) = match proof {
                    Proof::Manifest => ("mrpf-api and Candle", "its manifest names no shared library"),
                    Proof::Symbols(of) => (*of, "its symbols say so"),
                    Proof::Anchor => ("mrpf-api and Candle", "it sees another copy in memory"),
                };
                format!(
                    "{plugin} carries a copy of {of} of its own ({proof}); gradients through it would be wrong without any error"
                )
            }
            Self::StaticProgram => {
                "this mrpf holds mrpf-api and Candle in itself, so that no plugin can share them".into()
            }
            Self::CannotOpen(why) => format!("the system's loader refuses it: {why}"),
            Self::NoSymbol(symbol) => format!("its manifest names the symbol `{symbol}`, which it does not have"),
            Self::NothingRegistered(plugin) => format!("{plugin} registers no plugin"),
            Self::BrokenRegistration { plugin, error } => format!("{plugin} registers something broken: {error}"),
            Self::NameTaken { plugin, first, second } => format!("{plugin} comes from {first} and from {second}"),
        }
    }

    fn hint(&self, path: &Path) -> String {
        match self {
            Self::Unreadable(_) | Self::NotAFile(_) => "`mrpf plugins build DIR` prints where the library lies".into(),
            Self::Writable { path, by } => {
                let mends = match by {
                    WritableBy::Everybody => "chmod o-w",
                    WritableBy::Group(_) => "chmod g-w",
                    WritableBy::AccessList => "setfacl -b",
                };
                format!("{mends} {}; or, if that is meant, --allow-writable-plugins", path.display())
            }
            Self::Foreign { .. } => {
                "copy it into a folder of your own if you trust its owner; or, if that is meant, --allow-writable-plugins"
                    .into()
            }
            Self::Replaced => "repeat the command; should it happen again, look at who works in that folder".into(),
            Self::OwnCopy { proof: Proof::Symbols(_), .. } => {
                "remove it from [dependencies]: `mrpf_api`, with `mrpf_api::candle_core`, comes from the program".into()
            }
            Self::NoManifest => {
                "its source needs `mrpf_api::export_plugin!();`, and `mrpf plugins build DIR` builds it".into()
            }
            Self::StaticProgram => {
                "build mrpf with its default features, or take the folder that scripts/dist makes".into()
            }
            Self::NothingRegistered(_) => "its source needs `register_plugin! { ... }`".into(),
            Self::BrokenRegistration { .. } => "mend its settings type and its `register_plugin!`".into(),
            Self::NameTaken { .. } => "rename one of them, or leave one of the libraries out".into(),
            _ => match crate_of(path) {
                Some(folder) => format!("rebuild it: mrpf plugins build {}", folder.display()),
                None => "rebuild it: mrpf plugins build DIR, with the folder that holds its Cargo.toml".into(),
            },
        }
    }
}

/// The crate that a library was built from, where it still lies in the crate's target folder.
fn crate_of(library: &Path) -> Option<&Path> {
    let target = library.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"))?;
    target.parent().filter(|folder| folder.join("Cargo.toml").is_file())
}
