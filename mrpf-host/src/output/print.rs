//! The only file that writes to the terminal.

use mrpf_api::{Error, ErrorKind, Result};
use std::io::{self, Write};
use std::sync::OnceLock;

/// Why something that was to be printed is lost, from the first time on.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints what was asked for. A reader that has gone away (`mrpf plugins list | head`) is no failure; any other is kept for
/// [`check_printed`], so that work in progress goes on.
pub fn print_text(text: &str) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = LOST.set(error.to_string());
        }
        _ => {}
    }
}

/// Checks that everything came out that was printed.
///
/// # Errors
/// [`ErrorKind::Io`] with the system's reason if something did not.
pub fn check_printed() -> Result<()> {
    match LOST.get() {
        None => Ok(()),
        Some(reason) => {
            let message = format!("standard output cannot be written, part of it is lost: {reason}");
            Err(Error::new(ErrorKind::Io, message).hint("repeat the command with its output elsewhere"))
        }
    }
}

/// Prints a failure or a notice beside the output proper.
pub fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
