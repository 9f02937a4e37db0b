//! `mrpf doctor`: what is there, whether it works, and what is missing.

use mrpf_api::{Error, ErrorKind, Result};

use super::Console;
use crate::cli::DoctorArgs;
use crate::device::Arithmetic;
use crate::doctor::{examine, report_text};

/// How many failures the error names; the report has all.
const NAMED: usize = 3;

/// Examines, prints, and fails if something that is there does not work.
pub fn doctor(args: &DoctorArgs, console: &Console<'_>) -> Result<()> {
    let (report, refused) = examine(args.device, Arithmetic { tf32: args.tf32, deterministic: args.deterministic })?;
    (console.print)(&match args.json {
        true => serde_json::to_string_pretty(&report)
            .map_err(|error| Error::new(ErrorKind::Io, format!("the report cannot be written: {error}")))?,
        false => report_text(&report),
    });
    let failed: Vec<String> =
        report.failed().map(|tested| format!("`{}` on {}", tested.operation, tested.device)).collect();
    match (refused, failed.is_empty()) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(()),
        (None, false) => {
            let more = failed.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("the self-test failed for {}{more}", failed[..failed.len().min(NAMED)].join(", "));
            Err(Error::new(ErrorKind::Device, message).hint("do not use that device for results"))
        }
    }
}
