//! Finding and reading the files of a data set: what data-set plugins share, since `mrpf-api` reads no files.
//!
//! Everything here takes files for hostile: sizes in headers are believed only as far as the bytes that follow bear them out.

mod bounded;
mod folder;
mod parts;
mod regular;

pub use bounded::{Bytes, open, read_exactly, read_small};
pub use folder::{Folder, Place, contents};
pub use parts::Part;
pub use regular::open_regular;
