//! The example plugins linked into a program, from the very sources that are also compiled into libraries.

#[path = "../../../examples/plugins/logit-pairing/src/lib.rs"]
pub mod logit_pairing;
#[path = "../../../examples/plugins/redundancy/src/lib.rs"]
pub mod redundancy;
#[path = "../../../examples/plugins/spectral-norm/src/lib.rs"]
pub mod spectral_norm;
