//! Pruning schedules: how the ratio grows over the rounds.

/// The way from nothing to the whole ratio.
pub trait PruningSchedule: Send {
    /// The ratio that shall have been removed at `progress` in [0, 1], for a `final_ratio` in [0, 1).
    ///
    /// Never falls as progress grows, and is exactly `final_ratio` at progress 1.
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64;
}
