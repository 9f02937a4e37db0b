//! What makes a plugin crate a library that mrpf can open while it runs.
//!
//! Opening a library runs its code, so what it was built against is read from the *file* first: [`crate::export_plugin!`] puts a
//! [`Manifest`] into it. After opening, the address of [`ANCHOR`] that the library sees proves that it shares this copy of mrpf-api
//! and Candle: Candle numbers its autograd nodes by a static of each copy, and a second copy gives wrong gradients silently.

mod build;
mod manifest;

pub use build::{HostBuild, LIBRARY_ID_VARIABLE};
pub use manifest::{
    Difference, GENERATION, Manifest, ManifestError, Package, SYMBOL_PREFIX, Stated, UNSEALED, digest_places,
};

/// One byte whose address tells one copy of this crate from another.
#[derive(Debug)]
pub struct Anchor(#[allow(dead_code)] u8);

/// The anchor of this copy.
pub static ANCHOR: Anchor = Anchor(1);

/// What a plugin library shows under the symbol that its manifest names.
#[repr(C)]
#[derive(Debug)]
pub struct Exported {
    /// [`ANCHOR`] as the plugin sees it.
    pub anchor: &'static Anchor,
    /// The manifest as it lies in memory.
    pub manifest: &'static Manifest,
}

/// Makes the crate a plugin library: written once, beside any number of [`crate::register_plugin!`].
///
/// The same source also serves linked into a program, where this only adds a kilobyte of text. `mrpf plugins build DIR` compiles
/// such a crate into a library that fits the program.
///
/// ```
/// mrpf_api::export_plugin!();
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    () => {
        const _: () = {
            #[used]
            static MANIFEST: $crate::export::Manifest = $crate::export::Manifest::of(&$crate::export::Package {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                module: module_path!(),
                panic: if cfg!(panic = "unwind") { "unwind" } else { "abort" },
                library: match option_env!("MRPF_LIBRARY_ID") {
                    Some(id) => id,
                    None => "none",
                },
            });

            #[used]
            #[unsafe(export_name = concat!("MRPF_PLUGIN_", module_path!()))]
            static EXPORTED: $crate::export::Exported =
                $crate::export::Exported { anchor: &$crate::export::ANCHOR, manifest: &MANIFEST };
        };
    };
}
