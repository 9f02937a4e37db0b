//! `mrpf data`: the images by themselves.

mod check;
mod fetch;

use mrpf_api::Result;
use mrpf_api::data::DataSource;
use serde_json::{Map, Value};

use super::Console;
use crate::cli::DataCommand;
use crate::experiment::{PluginChoice, assignment};

/// Does what the arguments ask for.
pub fn data(command: &DataCommand, console: &Console<'_>) -> Result<()> {
    match command {
        DataCommand::Check(args) => check::check(args, console),
        DataCommand::Fetch(args) => fetch::fetch(args, console),
    }
}

/// The data set of that name with settings as `key=value` texts.
///
/// # Errors
/// [`mrpf_api::ErrorKind::UnknownName`] with the nearest known names, and as [`assignment`].
pub(in crate::commands) fn source(name: &str, set: &[String]) -> Result<Box<dyn DataSource>> {
    let mut settings = Map::new();
    for text in set {
        if let Value::Object(given) = assignment(text)? {
            settings.extend(given);
        }
    }
    PluginChoice { name: name.into(), settings }.make::<dyn DataSource>()
}
