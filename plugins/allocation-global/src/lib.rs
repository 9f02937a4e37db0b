//! Allocations that rank the channels of several groups together: `global`, `isomorphic` and `lamp-global`.

mod global;
mod isomorphic;
mod lamp;
mod normalise;
mod ranking;

pub use global::GlobalSettings;
pub use isomorphic::{IsomorphicSettings, signature};
pub use lamp::{LampSettings, lamp_scores};
pub use normalise::Normaliser;

#[cfg(test)]
mod tests;
