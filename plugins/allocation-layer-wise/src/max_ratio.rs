//! The setting that all allocations have.

use mrpf_api::prelude::*;

/// Checks the largest share of a group that may go.
///
/// # Errors
/// [`ErrorKind::Settings`] if it is not above 0 and at most 1.
pub(crate) fn check_max_ratio(max_ratio: f64) -> Result<()> {
    match max_ratio > 0.0 && max_ratio <= 1.0 {
        true => Ok(()),
        false => {
            let message = format!("max_ratio {max_ratio}, expected a share above 0 and at most 1");
            Err(Error::new(ErrorKind::Settings, message))
        }
    }
}
