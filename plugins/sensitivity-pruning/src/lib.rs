//! Metrics that really prune one group at a time and look at the loss: `prune-and-measure` and `score-bisection`.
//!
//! They measure what `mrs` stands for: what removing channels does, and not what the worst step of a weight would do.

mod bisection;
mod damage;
mod one_group;

pub use bisection::{BisectionSettings, ScoreBisection};
pub use damage::{DamageSettings, PruneAndMeasure};
pub use one_group::OneGroup;

#[cfg(test)]
mod tests;
