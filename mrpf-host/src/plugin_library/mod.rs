//! Plugin libraries: found, checked, opened while the program runs, and never closed.
//!
//! The order of the checks matters, for opening a library already runs its code: first whether the user named it, then the file itself
//! (regular, nobody else can change it, a whole library for this machine), the manifest in it (see [`mrpf_api::export`]), its symbols
//! and its digest. The loader is given a private copy of the very bytes that were checked. It binds all symbols; then the address of
//! the anchor proves that the library shares this copy of mrpf-api and Candle, and only then is taken what it registered. Each step
//! has its own [`Refusal`].

mod ending;
mod file;
mod found_settings;
mod known;
mod open;
mod own_copy;
mod ownership;
mod private_copy;
mod refusal;
mod seal;
mod search;
mod shared_library;
mod shell;
mod system;

pub use ending::{Working, agree_to_end, guard_process};
pub use found_settings::open_found;
pub use known::remember;
pub use open::{Writable, accept_writable, accepts_writable, open, opened};
pub use own_copy::check_own_copy;
pub use refusal::{Proof, Refusal, WritableBy};
pub use seal::seal;
pub use search::{Found, SEARCH_VARIABLE, library_files, load, open_named, user_folder};
pub use shared_library::{SharedLibrary, shared_library};
