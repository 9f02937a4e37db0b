//! AutoAttack (Croce & Hein 2020, arXiv 2003.01690) and the attacks that it is made of, each a plugin by itself.
//!
//! Formulas, constants and peculiarities are those of the authors' code (fra31/auto-attack at a392200), with three differences that
//! change no image's fate on a deterministic network:
//!
//! - every image has a course and random numbers of its own, so that neither its neighbours nor the batch size matter (the original
//!   draws one window and one set of signs of Square for a whole batch);
//! - an image leaves an attack as soon as it is broken, with the image that broke it (the original goes on to the last step and keeps
//!   the last, in FAB the nearest, misclassified image);
//! - courses are computed in f64 and rounded to the network's precision where it sees them.

mod apgd;
mod ensemble;
mod fab;
mod square;

pub use apgd::{ApgdSettings, ApgdTargetedSettings};
pub use ensemble::{AutoAttackSettings, Version};
pub use fab::{FabSettings, FabTargetedSettings};
pub use square::SquareSettings;

#[cfg(test)]
mod tests;
