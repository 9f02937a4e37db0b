//! `mrpf data fetch`: the official files of a data set.

use mrpf_api::registry::{Kind, registrations};
use mrpf_api::{Error, ErrorKind, Result};
use std::time::Duration;

use super::source;
use crate::cli::DataFetchArgs;
use crate::commands::Console;
use crate::fetch::{self, Fetch, Patience};

/// Downloads, checks and unpacks.
pub fn fetch(args: &DataFetchArgs, console: &Console<'_>) -> Result<()> {
    let downloads = source(&args.name, &args.set)?.downloads();
    if downloads.is_empty() {
        let message = format!("data set `{}` has no official files to fetch", args.name);
        return Err(Error::new(ErrorKind::Data, message).hint(format!("these have: {}", fetchable().join(", "))));
    }
    let request = Fetch {
        directory: &args.data_dir,
        mirror: args.from.as_deref(),
        pause: Duration::from_secs(1),
        patience: Patience::default(),
        proxy: true,
        events: console.events,
        watcher: console.watcher,
    };
    fetch::fetch(&downloads, &request)?;
    if !args.json {
        let (name, directory) = (&args.name, args.data_dir.display());
        (console.print)(&format!("look at it with:  mrpf data check --data {name} --data-dir {directory}"));
    }
    Ok(())
}

/// The data sets that can be fetched.
fn fetchable() -> Vec<&'static str> {
    let sets = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::DataSet);
    sets.filter(|plugin| source(plugin.name, &[]).is_ok_and(|source| !source.downloads().is_empty()))
        .map(|plugin| plugin.name)
        .collect()
}
