//! How failures are told: text for people, exit codes for programs.

use mrpf_api::{Error, ErrorKind};

/// The exit codes, as `mrpf --help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a computation failed
  2    a setting, an argument or a name is wrong
  3    data is missing or damaged
  4    a file cannot be read, written or used
  5    the pruning budget cannot be met
  6    a plugin broke its contract, or its library was refused
  7    the device asked for cannot be used
  130  stopped on request; go on with --resume";

/// The exit code for a kind of failure.
pub fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::UnknownName | ErrorKind::Settings => 2,
        ErrorKind::Data => 3,
        ErrorKind::Checkpoint | ErrorKind::Io => 4,
        ErrorKind::Budget => 5,
        ErrorKind::Plugin => 6,
        ErrorKind::Device => 7,
        ErrorKind::Interrupted => 130,
        _ => 1,
    }
}

/// The whole chain in one line, and what to do next in another.
pub fn text(error: &Error) -> String {
    match error.hint_text() {
        None => format!("error: {error}"),
        Some(hint) => format!("error: {error}\n  hint: {hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_given_is_documented() {
        let kinds = [
            ErrorKind::UnknownName,
            ErrorKind::Settings,
            ErrorKind::Declaration,
            ErrorKind::Data,
            ErrorKind::Checkpoint,
            ErrorKind::Budget,
            ErrorKind::Numeric,
            ErrorKind::Tensor,
            ErrorKind::Plugin,
            ErrorKind::Interrupted,
            ErrorKind::Io,
            ErrorKind::Device,
        ];
        for kind in kinds {
            let code = exit_code(kind);
            assert!(EXIT_CODES.contains(&format!("\n  {code} ")), "{kind:?} gives {code}");
        }
    }

    #[test]
    fn a_failure_is_told_with_its_hint() {
        let error = Error::new(ErrorKind::Data, "label 12").hint("check the file").context("reading a.bin");
        assert_eq!(text(&error), "error: reading a.bin: label 12\n  hint: check the file");
    }
}
