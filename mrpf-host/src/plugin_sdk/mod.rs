//! What a plugin author is given: a crate to begin with, and the build of it against this very program.
//!
//! A plugin names no mrpf crate among its dependencies. It is compiled against the shared library that this process uses, as
//! `--extern mrpf_api=<that file>`, so that there is one copy of mrpf-api and Candle and one definition of every type.

mod cargo;
mod locate;
mod native;
mod plugin_crate;
mod template;

pub use locate::Sdk;
pub use plugin_crate::{Built, PluginCrate};
pub use template::write_crate;
