//! Plugin libraries: found, checked, opened while the program runs, and never closed.
//!
//! The order of the checks matters, for opening a library already runs its code: first the file itself (regular, not writable by
//! others, a whole library for this machine), then the manifest in it (see [`mrpf_api::export`]), then it is opened with all
//! symbols bound, then the address of the anchor proves that it shares this copy of mrpf-api and Candle, and only then is taken what
//! it registered. Each step has its own [`Refusal`].

mod file;
mod open;
mod refusal;
mod search;
mod shared_library;
mod system;

pub use open::{Writable, accept_writable, open, opened};
pub use refusal::{Proof, Refusal};
pub use search::{Found, SEARCH_VARIABLE, library_files, load, user_folder};
pub use shared_library::{SharedLibrary, shared_library};
