//! `mrpf plugins new`: a plugin crate to begin with.

use mrpf_api::Result;
use std::path::{Path, PathBuf};

use crate::commands::Console;
use crate::plugin_listing::{example_key, parse_kind};
use crate::plugin_sdk::write_crate;

/// Writes the crate and says what to do with it.
pub fn new(name: &str, kind: &str, dir: Option<&Path>, console: &Console<'_>) -> Result<()> {
    let kind = parse_kind(kind)?;
    let dir = dir.map_or_else(|| PathBuf::from(name), Path::to_owned);
    write_crate(name, kind, &dir)?;
    let (place, key) = (dir.display(), example_key(kind));
    (console.print)(&format!(
        "wrote {place}: a {} called `{name}`; its code is in {place}/src/lib.rs\n\
         compile it:          mrpf plugins build {place}\n\
         run its tests:       mrpf plugins test {place}\n\
         then, with the library that `build` names:\n  \
           mrpf plugins check LIBRARY\n  \
           mrpf run --plugin LIBRARY --set {key}={name}",
        kind.name()
    ));
    Ok(())
}
