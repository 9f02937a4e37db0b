//! `mrpf sensitivity`: the sensitivity of each module of a saved network.

use mrpf_api::Result;

use super::Console;
use super::open::open_model;
use crate::cli::ModelArgs;
use crate::event::{Event, EventSink};
use crate::pipeline::Session;

/// Measures and writes sensitivities.
pub fn sensitivity(args: &ModelArgs, console: &Console<'_>) -> Result<()> {
    let (opened, network) = open_model(args, "sensitivity", console)?;
    let metric = opened.experiment.prune.sensitivity.clone();
    let session = Session::open(opened, 1, console.events, console.watcher)?;
    session.check_fits(&network)?;
    session.sensitivities(&metric.name, &metric, &network)?;
    session.send(Event::Written { what: "sensitivities".into(), path: session.dir.sensitivity(&metric.name) });
    Ok(())
}
