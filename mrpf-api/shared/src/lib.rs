//! mrpf-api and Candle as one shared library.
//!
//! Candle numbers its autograd nodes by a static of each linked copy, so the program and its run-time plugins must share one.
//! This crate stays outside the workspace's members: cargo links the standard library dynamically into a `dylib` only when
//! its package was not selected by name, and a static copy would make every program that uses it fail to link.

pub use mrpf_api::*;

const _: () = assert!(
    option_env!("CARGO_PRIMARY_PACKAGE").is_none(),
    "mrpf-dylib is only ever built as a dependency of mrpf-host"
);
