//! Networks to and from PyTorch.
//!
//! - [`import`]: a state dictionary with the names of others becomes a network of ours.
//! - [`pytorch`]: a network becomes a state dictionary and a Python module that runs it.

mod beside;
mod centred;
mod differences;
mod import;
mod masks;
mod matching;
pub mod names;
mod normalisation;
pub mod pytorch;
mod state_dict;

#[cfg(test)]
mod hostile;

pub use beside::LeftOut;
pub use import::{Imported, Request, Template, import};
pub use normalisation::Normalisation;
pub use state_dict::{Buffer, StateDict};
