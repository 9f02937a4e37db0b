//! What this copy of mrpf-api was built from.

/// The environment variable that tells a plugin's compilation which shared library it is made against: its SHA-256.
pub const LIBRARY_ID_VARIABLE: &str = "MRPF_LIBRARY_ID";

/// What a plugin must agree with, in the words of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBuild {
    /// Version of mrpf-api.
    pub mrpf: String,
    /// `rustc -V` of the compiler.
    pub compiler: String,
    /// Version of Candle.
    pub candle: String,
    /// The machine that the code is for, for example `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// Features of mrpf-api, `none` or separated by commas.
    pub features: String,
    /// What a panic does: `unwind` or `abort`.
    pub panic: String,
    /// SHA-256 over the sources of mrpf-api.
    pub api: String,
    /// SHA-256 of the lock file.
    pub lock: String,
    /// SHA-256 of the shared library that holds mrpf-api and Candle; `none` where it is linked in statically.
    pub library: String,
}

impl HostBuild {
    /// The build of this copy, which lies in a shared library with the given SHA-256.
    pub fn of_this_copy(library: impl Into<String>) -> Self {
        let panic = if cfg!(panic = "unwind") { "unwind" } else { "abort" };
        Self {
            mrpf: VERSION.into(),
            compiler: COMPILER.into(),
            candle: CANDLE.into(),
            target: TARGET.into(),
            features: FEATURES.into(),
            panic: panic.into(),
            api: API.into(),
            lock: LOCK.into(),
            library: library.into(),
        }
    }
}

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(super) const COMPILER: &str = env!("MRPF_BUILD_COMPILER");
pub(super) const CANDLE: &str = env!("MRPF_BUILD_CANDLE");
pub(super) const TARGET: &str = env!("MRPF_BUILD_TARGET");
pub(super) const FEATURES: &str = env!("MRPF_BUILD_FEATURES");
pub(super) const API: &str = env!("MRPF_BUILD_API");
pub(super) const LOCK: &str = env!("MRPF_BUILD_LOCK");
