//! How many threads computations use.

use mrpf_api::{Error, ErrorKind, Result};

/// With more threads for a core than this, a number is a slip.
const MOST_PER_CORE: usize = 16;

/// Limits the threads of all computations; called once, before any of them.
///
/// # Errors
/// [`ErrorKind::Settings`] for 0 and for many times what the machine has, which is slower than one, or if computations have begun already.
pub fn limit(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::new(ErrorKind::Settings, "--threads 0, expected at least 1"));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if threads > MOST_PER_CORE * cores {
        let message = format!("--threads {threads}, expected at most {}", MOST_PER_CORE * cores);
        return Err(
            Error::new(ErrorKind::Settings, message).hint(format!("this machine computes on {cores} at a time"))
        );
    }
    mrpf_api::rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Error::new(ErrorKind::Settings, format!("--threads {threads}: {error}")))
}

/// Keeps Candle's own thread pool for element-wise operations at one thread, unless the user chose otherwise.
///
/// That pool meets at spinning barriers after every small operation; beside the kernels, which use all threads anyway, it
/// slowed a training of the built-in experiment by a quarter on two idle cores and by four fifths on busy ones. Called as the
/// first thing of the program.
pub fn quiet_elementwise_pool() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program has one thread yet, so nobody reads the environment at the same time; Candle reads the variable
        // only when its pool is first used.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}
