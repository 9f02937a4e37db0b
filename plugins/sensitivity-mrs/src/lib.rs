//! Metrics that move the weight of one module and see how far a loss can rise: `mrs`, `mrc` and `clean-sensitivity`.
//!
//! All three climb in the same way ([`rise_of_module`]), on images that are chosen once and stay as they are.

mod ascent;
mod clean;
mod mrc;
mod mrs;
mod projection;

pub use ascent::{Mode as AscentMode, ModuleAscent, rise_of_module, rises};
pub use clean::{CleanSensitivity, CleanSensitivitySettings};
pub use mrc::{Mrc, MrcMode, MrcSettings};
pub use mrs::{Mrs, MrsSettings};
pub use projection::Projection;

#[cfg(test)]
mod tests;
