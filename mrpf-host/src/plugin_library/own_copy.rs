//! Whether a library brings its own copy of Candle or mrpf-api, as far as its symbols tell.
//!
//! A plugin that shares them takes them from the shared library, so that its symbol table names them without defining them. What is
//! generic or inlined is compiled into every plugin; the counter of autograd nodes and the anchor are in each copy once. A stripped
//! library does not tell; then the crate's dependencies do when it is built, and for mrpf-api the anchor's address once it is opened.

use mrpf_api::export::Stated;
use object::{Object, ObjectSymbol};

use super::refusal::{Proof, Refusal};

/// Parts of mangled names that only a copy of the crate defines, with the crate.
const MARKS: [(&str, &[&str]); 2] =
    [("Candle", &["11candle_core", "8TensorId", "7COUNTER"]), ("mrpf-api", &["8mrpf_api", "6export", "6ANCHOR"])];

/// Refuses a library that defines one of them.
pub fn check_own_copy(bytes: &[u8], stated: &Stated) -> Result<(), Refusal> {
    match find(bytes) {
        None => Ok(()),
        Some(of) => {
            let plugin = format!("{} {}", stated.package, stated.version);
            Err(Refusal::OwnCopy { plugin, proof: Proof::Symbols(of) })
        }
    }
}

/// The crate that a library has a copy of.
fn find(bytes: &[u8]) -> Option<&'static str> {
    let library = object::File::parse(bytes).ok()?;
    let all = library.symbols().chain(library.dynamic_symbols());
    all.filter(ObjectSymbol::is_definition).find_map(|symbol| {
        let name = symbol.name().ok()?;
        MARKS.iter().find(|(_, parts)| parts.iter().all(|part| name.contains(part))).map(|(of, _)| *of)
    })
}
