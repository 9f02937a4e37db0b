//! A plugin library must not pass for the program: what it prints stays out of the program's output, and the process ends well only if
//! the program says so.
//!
//! Both begin when the first library is opened, and only in the program itself: not in one that uses this crate as a library.

use mrpf_api::ErrorKind;
use mrpf_api::registry::plugins_being_called;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::open::opened;
use super::system;
use crate::failure::exit_code;
use crate::output::{keep_output_apart, print_error};

/// Whether this process is the program itself.
static GUARDED: AtomicBool = AtomicBool::new(false);
/// Whether the program itself is ending.
static AGREED: AtomicBool = AtomicBool::new(false);
/// The library that is being opened.
static OPENING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Held by the program for as long as it works; letting go of it means that the program ends by itself.
#[must_use]
pub struct Working(());

/// Says that this process is the program, so that plugin libraries are kept from passing for it.
pub fn guard_process() -> Working {
    GUARDED.store(true, Ordering::SeqCst);
    Working(())
}

/// Says that the program itself is about to end the process.
pub fn agree_to_end() {
    AGREED.store(true, Ordering::SeqCst);
}

impl Drop for Working {
    fn drop(&mut self) {
        agree_to_end();
    }
}

/// Held while a library is opened, whose initialisers run then.
pub(super) struct Opening(());

/// Gets ready for a library's code.
pub(super) fn opening(path: &Path) -> Result<Opening, String> {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    if GUARDED.load(Ordering::SeqCst) {
        READY.get_or_init(get_ready).clone()?;
    }
    *OPENING.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    Ok(Opening(()))
}

impl Drop for Opening {
    fn drop(&mut self) {
        *OPENING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn get_ready() -> Result<(), String> {
    keep_output_apart()
        .map_err(|error| format!("standard output cannot be kept apart from what it prints: {error}"))?;
    match system::at_exit(at_exit) {
        true => Ok(()),
        false => Err("the system does not tell when the process ends".into()),
    }
}

extern "C" fn at_exit() {
    if AGREED.load(Ordering::SeqCst) {
        return;
    }
    // Nothing may unwind out of here.
    let _ = std::panic::catch_unwind(|| {
        print_error(&format!(
            "error: {} ended the program\n  hint: a plugin answers with an error and never exits; what was finished before is kept",
            culprit()
        ));
    });
    system::end_at_once(exit_code(ErrorKind::Plugin));
}

/// Who did it, as far as that is known.
fn culprit() -> String {
    if let Some(path) = OPENING.try_lock().ok().and_then(|opening| opening.clone()) {
        return format!("plugin library {}, while it was opened,", path.display());
    }
    let from_libraries: Vec<String> = plugins_being_called()
        .into_iter()
        .filter(|plugin| plugin.origin.library().is_some())
        .map(|plugin| plugin.described())
        .collect();
    match from_libraries.last() {
        Some(plugin) => plugin.clone(),
        None => {
            let all: Vec<String> = opened().iter().map(|library| library.path.display().to_string()).collect();
            format!("one of the plugin libraries that are open ({})", all.join(", "))
        }
    }
}
