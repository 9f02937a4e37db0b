//! Attacks that follow the gradient of the cross-entropy: `fgsm` and `pgd`.

mod fgsm;
mod pgd;

pub use fgsm::Fgsm;
pub use pgd::{Keep, Pgd, PgdSettings};

#[cfg(test)]
mod tests;
