//! `mrpf plugins`: which plugins there are and what can be set.

use mrpf_api::Result;

use super::Console;
use crate::cli::PluginsCommand;
use crate::plugin_listing;

/// Lists or shows plugins.
pub fn plugins(command: &PluginsCommand, console: &Console<'_>) -> Result<()> {
    let text = match command {
        PluginsCommand::List { kind, json } => plugin_listing::list(kind.as_deref(), *json)?,
        PluginsCommand::Show { name, json } => plugin_listing::show(name, *json)?,
    };
    (console.print)(&text);
    Ok(())
}
