//! `mrpf plugins`: which plugins there are, what can be set, and the tools to write one.

mod build;
mod check;
mod new;

use mrpf_api::Result;

use super::Console;
use crate::cli::PluginsCommand;
use crate::plugin_listing;

/// Does what the arguments ask for.
pub fn plugins(command: &PluginsCommand, console: &Console<'_>) -> Result<()> {
    match command {
        PluginsCommand::List { kind, json } => {
            (console.print)(&plugin_listing::list(kind.as_deref(), *json, console.refused)?);
            Ok(())
        }
        PluginsCommand::Show { name, json } => {
            (console.print)(&plugin_listing::show(name, *json)?);
            Ok(())
        }
        PluginsCommand::New { name, kind, dir } => new::new(name, kind, dir.as_deref(), console),
        PluginsCommand::Build(args) => build::build(args, console),
        PluginsCommand::Test(args) => build::test(args),
        PluginsCommand::Check { plugin, set, data_dir, json } => {
            check::check(plugin, set, data_dir.as_deref(), *json, console)
        }
    }
}
