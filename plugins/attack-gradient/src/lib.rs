//! Attacks that follow the gradient of one loss: `fgsm`, `pgd`, `mim` on the cross-entropy, `cw-linf` on the margin.

mod cw_linf;
mod fgsm;
mod first_broken;
mod momentum;
mod objective;
mod pgd;

pub use cw_linf::CwLinfSettings;
pub use fgsm::Fgsm;
pub use momentum::MomentumSettings;
pub use pgd::{Keep, Pgd, PgdSettings};

#[cfg(test)]
mod tests;
