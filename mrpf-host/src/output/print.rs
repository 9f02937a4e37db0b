//! The only file that writes to the terminal.

use mrpf_api::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::colour::RESET;
use crate::failure::{self, exit_code};
use crate::safe_text::{one_line, terminal};

/// Why something that was to be printed is lost, from the first time on.
static LOST: OnceLock<String> = OnceLock::new();

/// The program's own way to standard output, once it is kept apart from what others in this process print.
static APART: OnceLock<Mutex<File>> = OnceLock::new();

/// From now on only [`print_text`] reaches standard output; what anything else in this process writes there goes to standard error.
///
/// # Errors
/// The system's reason.
#[cfg(all(unix, feature = "dynamic-plugins"))]
pub fn keep_output_apart() -> io::Result<()> {
    use std::os::fd::AsFd;
    let mut out = io::stdout().lock();
    out.flush()?;
    let own = out.as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(io::stderr())?;
    let _ = APART.set(Mutex::new(own.into()));
    Ok(())
}

/// Nothing else is in the process.
///
/// # Errors
/// None.
#[cfg(not(all(unix, feature = "dynamic-plugins")))]
pub fn keep_output_apart() -> io::Result<()> {
    Ok(())
}

/// Prints what was asked for. A reader that has gone away (`mrpf plugins list | head`) is no failure; any other is kept for
/// [`check_printed`], so that work in progress goes on.
pub fn print_text(text: &str) {
    write_line(&terminal(text));
}

/// The same in a colour.
pub(super) fn print_coloured(colour: &str, text: &str) {
    write_line(&format!("{colour}{}{RESET}", terminal(text)));
}

fn write_line(text: &str) {
    let printed = match APART.get() {
        None => print_line(&mut io::stdout().lock(), text),
        Some(own) => print_line(&mut *own.lock().unwrap_or_else(PoisonError::into_inner), text),
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = LOST.set(error.to_string());
        }
        _ => {}
    }
}

/// Prints what clap answers to `--help`, `--version`, or arguments that it cannot read.
pub fn print_answer(answer: &clap::Error) -> ExitCode {
    let code = u8::try_from(answer.exit_code()).unwrap_or(exit_code(ErrorKind::Settings));
    // It repeats what was typed, with its own colours; those are given up where the arguments bring commands for a terminal.
    if std::env::args_os().any(|text| matches!(one_line(&text.to_string_lossy()), Cow::Owned(_))) {
        print_error(answer.render().to_string().trim_end());
        return ExitCode::from(code);
    }
    let told = answer.print().and_then(|()| io::stdout().flush());
    match told {
        Err(error) if !answer.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
            let error = lost(&error.to_string());
            print_error(&failure::text(&error));
            ExitCode::from(exit_code(error.kind()))
        }
        _ => ExitCode::from(code),
    }
}

/// In one piece, so that lines of several processes do not mix.
fn print_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush())
}

/// Checks that everything came out that was printed.
///
/// # Errors
/// [`ErrorKind::Io`] with the system's reason if something did not.
pub fn check_printed() -> Result<()> {
    match LOST.get() {
        None => Ok(()),
        Some(reason) => Err(lost(reason)),
    }
}

fn lost(reason: &str) -> Error {
    let message = format!("standard output cannot be written, part of it is lost: {reason}");
    Error::new(ErrorKind::Io, message).hint("repeat the command with its output elsewhere")
}

/// Prints a failure or a notice beside the output proper.
pub fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", terminal(text));
}
