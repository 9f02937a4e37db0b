//! Plugins that are opened while the program runs: built outside the workspace, checked, used, and refused.
//!
//! - `examples`: the third-party crates of `examples/plugins`, built by the program and run end to end.
//! - `gradients`: a dynamic plugin computes the very bits that the same source computes when linked in.
//! - `refusals`: a deliberately bad library for everything that a library can be refused for.
//! - `ownership`: files and folders that others can change, and a file that is swapped while it is looked at.
//! - `damage`: libraries with flipped bits.
//! - `found_settings`: what the run of a saved network, or a run to resume, asks for without the user having named it.
//! - `process`: what a plugin prints, and a plugin that ends the process.
//! - `failures`: panics, errors and wrong settings of a plugin that was accepted.
//! - `search`: where libraries are looked for, and what a run records of them.
//! - `authoring`: `plugins new`, `build`, `test` and `check`, for every kind; the guide.
//! - `installed`: a folder without the sources' target directory.
//!
//! This test program links the shared library, as the program itself does.

use mrpf_dylib as _;
use mrpf_linked_examples as _;

mod authoring;
mod crates;
mod damage;
mod examples;
mod failures;
#[cfg(unix)]
mod found_settings;
mod gradients;
mod installed;
#[cfg(unix)]
mod ownership;
mod process;
mod refusals;
mod search;
#[path = "../workflows/support.rs"]
mod support;
