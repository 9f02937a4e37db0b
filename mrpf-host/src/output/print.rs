//! The only file that writes to the terminal.

use std::io::{self, Write};

/// Prints what was asked for. A reader that has gone away (`mrpf plugins list | head`) is no failure.
pub fn print_text(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a failure or a notice beside the output proper.
pub fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
