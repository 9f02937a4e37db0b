//! `mrpf sensitivity`: the sensitivity of each module of a saved network.

use mrpf_api::Result;

use super::Console;
use super::open::open_model;
use crate::cli::ModelArgs;
use crate::event::Event;
use crate::pipeline::{Session, SessionPlan};

/// Measures and writes sensitivities.
pub fn sensitivity(args: &ModelArgs, console: &Console<'_>) -> Result<()> {
    let (experiment, dir, network) = open_model(args, "sensitivity", console)?;
    let metric = experiment.prune.sensitivity.clone();
    let session = Session::open(experiment, &dir, SessionPlan { stages: 1 }, console.events, console.watcher)?;
    session.check_fits(&network)?;
    session.sensitivities(&metric.name, &metric, &network)?;
    console.events.send(Event::Written { what: "sensitivities".into(), path: dir.sensitivity(&metric.name) });
    Ok(())
}
