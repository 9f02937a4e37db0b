//! How many threads computations use.

use mrpf_api::{Error, ErrorKind, Result};

/// Limits the threads of all computations; called once, before any of them.
///
/// # Errors
/// [`ErrorKind::Settings`] for 0, or if computations have begun already.
pub fn limit(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::new(ErrorKind::Settings, "--threads 0, expected at least 1"));
    }
    mrpf_api::rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Error::new(ErrorKind::Settings, format!("--threads {threads}: {error}")))
}
