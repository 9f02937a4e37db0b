//! Opens one library, after everything has been checked that can be checked before.

use mrpf_api::export::{ANCHOR, HostBuild, ManifestError, Stated};
use mrpf_api::registry::{PluginLibrary, Registration, registrations};
use mrpf_api::{Error, ErrorKind, Result, inventory};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::private_copy::PrivateCopy;
use super::refusal::{Proof, Refusal};
use super::shared_library::shared_library;
use super::{ending, file, own_copy, ownership, seal, system};
use crate::files::sha256;

/// What to do with a library that others can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Writable {
    /// It is not opened.
    #[default]
    Refuse,
    /// It is opened; the user said so.
    Accept,
}

static ACCEPT_WRITABLE: AtomicBool = AtomicBool::new(false);
static OPENED: Mutex<Vec<&'static PluginLibrary>> = Mutex::new(Vec::new());

/// Lets this process open libraries that others can change.
pub fn accept_writable(writable: Writable) {
    ACCEPT_WRITABLE.store(writable == Writable::Accept, Ordering::SeqCst);
}

/// Whether this process opens libraries that others can change.
pub fn accepts_writable() -> Writable {
    if ACCEPT_WRITABLE.load(Ordering::SeqCst) { Writable::Accept } else { Writable::Refuse }
}

/// The libraries opened so far, in the order of opening.
pub fn opened() -> Vec<&'static PluginLibrary> {
    OPENED.lock().map(|opened| opened.clone()).unwrap_or_default()
}

/// Which libraries the user agrees to have opened.
#[derive(Clone, Copy)]
pub(super) enum Consent<'a> {
    /// This one: the user named it.
    Named,
    /// It, if its SHA-256 is accepted.
    ForDigests(&'a dyn Fn(&str) -> bool),
}

/// What came of a library that was asked for.
pub(super) enum Outcome {
    /// It is open.
    Opened(&'static PluginLibrary),
    /// The user does not know it, so nothing of it was run.
    NotNamed {
        /// SHA-256 of the file.
        sha256: String,
    },
}

/// Checks and opens a library that the user named; its plugins are then known by name like all others. Opening it again changes
/// nothing.
///
/// # Errors
/// A [`Refusal`] in words: [`ErrorKind::Io`] for the file itself, [`ErrorKind::Plugin`] for what is in it.
pub fn open(path: &Path) -> Result<&'static PluginLibrary> {
    match open_with(path, Consent::Named)? {
        Outcome::Opened(library) => Ok(library),
        Outcome::NotNamed { .. } => Err(Error::new(ErrorKind::Plugin, "a library that was named was not opened")),
    }
}

/// As [`open`], if the user agrees.
pub(super) fn open_with(path: &Path, consent: Consent<'_>) -> Result<Outcome> {
    let absolute = path.canonicalize().map_err(|error| Refusal::Unreadable(error).into_error(path))?;
    let mut opened =
        OPENED.lock().map_err(|_| Error::new(ErrorKind::Plugin, "an earlier library was left half-opened"))?;
    if let Some(known) = opened.iter().find(|library| library.path == absolute) {
        return Ok(Outcome::Opened(known));
    }
    let outcome = open_new(path, &absolute, &opened, consent).map_err(|refusal| refusal.into_error(path))?;
    if let Outcome::Opened(library) = outcome
        && !opened.contains(&library)
    {
        opened.push(library);
    }
    Ok(outcome)
}

fn open_new(
    path: &Path,
    resolved: &Path,
    opened: &[&'static PluginLibrary],
    consent: Consent<'_>,
) -> Result<Outcome, Refusal> {
    let host = shared_library().ok_or(Refusal::StaticProgram)?;
    let (bytes, metadata) = file::read(resolved)?;
    let sha256 = sha256(&bytes);
    if let Some(same) = opened.iter().find(|library| library.sha256 == sha256) {
        // The same bytes from another place are the same plugin.
        return Ok(Outcome::Opened(same));
    }
    match consent {
        Consent::ForDigests(accepted) if !accepted(&sha256) => return Ok(Outcome::NotNamed { sha256 }),
        Consent::ForDigests(_) | Consent::Named => {}
    }
    match accepts_writable() {
        Writable::Refuse => ownership::check(path, &metadata)?,
        Writable::Accept => {}
    }
    file::check_whole(&bytes)?;
    let stated = check_manifest(&bytes, &host.build)?;
    own_copy::check_own_copy(&bytes, &stated)?;
    seal::check(&bytes, &stated)?;
    load(resolved, &bytes, sha256, stated).map(Outcome::Opened)
}

/// Lets the system's loader have the bytes that were checked, and takes what they register. From here on the library's code runs.
fn load(path: &Path, bytes: &[u8], sha256: String, stated: Stated) -> Result<&'static PluginLibrary, Refusal> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let copy = PrivateCopy::of(bytes, &name).map_err(|error| Refusal::CannotOpen(format!("no copy of it: {error}")))?;
    let opening = ending::opening(path).map_err(Refusal::CannotOpen)?;
    let before: Vec<*const Registration> = inventory::iter::<Registration>().map(std::ptr::from_ref).collect();
    let shown = |why: String| why.replace(&copy.path().display().to_string(), &path.display().to_string());
    let library = system::open(copy.path()).map_err(|why| Refusal::CannotOpen(shown(why)))?;
    let exported = library.exported(&stated.symbol);
    library.keep();
    copy.keep();
    drop(opening);
    let new: Vec<&'static Registration> =
        inventory::iter::<Registration>().filter(|&new| !before.contains(&std::ptr::from_ref(new))).collect();

    let plugin = format!("{} {}", stated.package, stated.version);
    let checked = match exported {
        None => Err(Refusal::NoSymbol(stated.symbol.clone())),
        Some(exported) if !std::ptr::eq(exported.anchor, &raw const ANCHOR) => {
            Err(Refusal::OwnCopy { plugin: plugin.clone(), proof: Proof::Anchor })
        }
        // The loader was given what was read; what lies in memory must say the same.
        Some(exported) if Stated::find(exported.manifest.bytes()).as_ref() != Ok(&stated) => {
            Err(Refusal::DamagedManifest("the one that was read before it was opened".into()))
        }
        Some(_) if new.is_empty() => Err(Refusal::NothingRegistered(plugin.clone())),
        Some(_) => check_registrations(&new, path, &plugin),
    };
    match checked {
        Ok(()) => {
            let Stated { package, version, .. } = stated;
            let library: &'static PluginLibrary =
                Box::leak(Box::new(PluginLibrary { path: path.into(), sha256, package, version }));
            new.iter().for_each(|registration| registration.origin.set_library(library));
            Ok(library)
        }
        Err(refusal) => {
            new.iter().for_each(|registration| registration.origin.refuse());
            Err(refusal)
        }
    }
}

fn check_manifest(bytes: &[u8], host: &HostBuild) -> Result<Stated, Refusal> {
    let stated = Stated::find(bytes).map_err(|error| match error {
        ManifestError::None => Refusal::NoManifest,
        ManifestError::OtherGeneration(found) => Refusal::OtherGeneration(found),
        ManifestError::Damaged(what) => Refusal::DamagedManifest(what),
        ManifestError::Several(count) => Refusal::DamagedManifest(format!("one of {count} different ones")),
    })?;
    let plugin = format!("{} {}", stated.package, stated.version);
    if stated.build.library == "none" {
        return Err(Refusal::OwnCopy { plugin, proof: Proof::Manifest });
    }
    match stated.differences(host) {
        differences if differences.is_empty() => Ok(stated),
        differences => Err(Refusal::DoesNotFit { plugin, differences }),
    }
}

/// Asks each new registration for its settings, and looks for names that are taken.
fn check_registrations(new: &[&'static Registration], path: &Path, plugin: &str) -> Result<(), Refusal> {
    for registration in new {
        registration
            .ask(|registration| {
                (registration.schema)();
                (registration.resolve)((registration.defaults)())
            })
            .map_err(|error| Refusal::BrokenRegistration { plugin: plugin.into(), error })?;
    }
    // Only what is new has no library yet and is not built in, so each name is compared with all others of its kind.
    let all = registrations();
    for registration in new {
        let same = |other: &&&Registration| {
            !std::ptr::eq(**other, *registration)
                && (other.kind(), other.name) == (registration.kind(), registration.name)
        };
        if let Some(other) = all.iter().find(same) {
            let here = format!("{plugin} ({})", path.display());
            let there = match other.origin.library() {
                Some(library) => format!("{} {} ({})", library.package, library.version, library.path.display()),
                None if new.iter().any(|new| std::ptr::eq(*new, *other)) => here.clone(),
                None => format!("{} {} (built in)", other.package, other.version),
            };
            let plugin = format!("{} `{}`", registration.kind().name(), registration.name);
            return Err(Refusal::NameTaken { plugin, first: there, second: here });
        }
    }
    Ok(())
}
