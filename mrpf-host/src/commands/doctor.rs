//! `mrpf doctor`: what is there, whether it works, and what is missing.

use mrpf_api::{Error, ErrorKind, Result};

use super::Console;
use crate::cli::DoctorArgs;
use crate::device::Arithmetic;
use crate::doctor::{examine, report_text};

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
            let message = format!("the self-test failed for {}", failed.join(", "));
            Err(Error::new(ErrorKind::Device, message).hint("do not use that device for results"))
        }
    }
}
