//! Side measurements that could not be made: they are left out and told, and never end an evaluation.

use mrpf_api::{ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// A side measurement that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What was to be measured.
    pub what: String,
    /// Why it could not be.
    pub why: String,
}

impl LeftOut {
    /// As a sentence without a full stop.
    pub fn sentence(&self) -> String {
        format!("{} left out: {}", self.what, self.why)
    }
}

/// What a side measurement gave; none if it failed, which is noted in `left_out`.
///
/// # Errors
/// Those after which nothing else could be measured either: the wish to stop, a failing device, a failing disk.
pub(super) fn unless_it_fails<T>(what: &str, measured: Result<T>, left_out: &mut Vec<LeftOut>) -> Result<Option<T>> {
    match measured {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Device | ErrorKind::Io) => Err(error),
        Err(error) => {
            left_out.push(LeftOut { what: what.into(), why: error.to_string() });
            Ok(None)
        }
    }
}
