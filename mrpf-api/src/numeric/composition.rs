//! Computing as on a device without kernels of our own, for tests: what runs on GPUs can then be checked on the CPU in f64.

use std::cell::Cell;

thread_local! {
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread leaves every operation to Candle's.
pub(super) fn is_forced() -> bool {
    FORCED.get()
}

/// Runs `work` with every operation left to Candle's.
pub(crate) fn by_composition<R>(work: impl FnOnce() -> R) -> R {
    FORCED.set(true);
    let result = work();
    FORCED.set(false);
    result
}
