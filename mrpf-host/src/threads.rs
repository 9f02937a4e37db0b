//! How many threads computations use.

use mrpf_api::{Error, ErrorKind, Result};

/// With more threads for a core than this, they only wait for one another.
const MOST_PER_CORE: usize = 16;

/// The variables by which the thread pools of Rayon and Candle are sized.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", CANDLE];
const CANDLE: &str = "CANDLE_NUM_THREADS";

/// Limits the threads of all computations; called once, before any of them. Tells what became of a number that is too large.
///
/// # Errors
/// [`ErrorKind::Settings`] for 0, or if computations have begun already.
pub fn limit(threads: usize) -> Result<Option<String>> {
    if threads == 0 {
        return Err(Error::new(ErrorKind::Settings, "--threads 0, expected at least 1"));
    }
    let (kept, note) = capped("--threads", threads, cores());
    mrpf_api::rayon::ThreadPoolBuilder::new()
        .num_threads(kept)
        .build_global()
        .map_err(|error| Error::new(ErrorKind::Settings, format!("--threads {threads}: {error}")))?;
    Ok(note)
}

/// Settles the sizes of thread pools that the environment decides, and tells what was changed. Called as the first thing of the program.
///
/// Candle's own pool for element-wise operations gets one thread, unless the user chose otherwise: it meets at spinning barriers after every
/// small operation; beside the kernels, which use all threads anyway, it slowed a training of the built-in experiment by a quarter on two
/// idle cores and by four fifths on busy ones.
pub fn settle_pools() -> Vec<String> {
    let mut notes = Vec::new();
    for variable in VARIABLES {
        let asked = std::env::var(variable).ok().and_then(|text| text.trim().parse().ok());
        let kept = match asked {
            Some(threads) => {
                let (kept, note) = capped(variable, threads, cores());
                let changed = note.is_some();
                notes.extend(note);
                changed.then_some(kept)
            }
            None => (variable == CANDLE && std::env::var_os(CANDLE).is_none()).then_some(1),
        };
        if let Some(kept) = kept {
            // SAFETY: the program has one thread yet, so nobody reads the environment at the same time; the pools read their
            // variables only when they are first used.
            unsafe { std::env::set_var(variable, kept.to_string()) };
        }
    }
    notes
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// As many threads as help, and what is told where that is fewer.
fn capped(what: &str, threads: usize, cores: usize) -> (usize, Option<String>) {
    let most = MOST_PER_CORE * cores;
    match threads > most {
        true => {
            (most, Some(format!("{what} {threads} is more than this machine has a use for: {most} threads are used")))
        }
        false => (threads, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_threads_are_not_made() {
        assert_eq!(capped("--threads", 64, 4), (64, None));
        let (kept, note) = capped("--threads", 100_000, 4);
        assert_eq!(kept, 64);
        assert!(note.is_some_and(|note| note.starts_with("--threads 100000 is more")));
    }
}
