//! Plugins that are opened while the program runs: built outside the workspace, checked, used, and refused.
//!
//! - `examples`: the third-party crates of `examples/plugins`, built by the program and run end to end.
//! - `gradients`: a dynamic plugin computes the very bits that the same source computes when linked in.
//! - `refusals`: a deliberately bad library for everything that a library can be refused for.
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
mod examples;
mod failures;
mod gradients;
mod installed;
mod refusals;
mod search;
#[path = "../workflows/support.rs"]
mod support;
