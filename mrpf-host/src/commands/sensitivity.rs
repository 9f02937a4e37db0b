//! `mrpf sensitivity`: the sensitivity of each module of a saved network.

use mrpf_api::Result;

use super::Console;
use super::foresee::foresee;
use super::open::open_fresh;
use crate::cli::ModelArgs;
use crate::event::{Event, EventSink};
use crate::experiment::Ahead;
use crate::pipeline::{Session, read_model};

/// Measures and writes sensitivities.
pub fn sensitivity(args: &ModelArgs, console: &Console<'_>) -> Result<()> {
    let network = read_model(&args.model)?.to_device(&console.device.device)?;
    let opened = open_fresh(&args.model, &args.experiment, &args.shared, |_| Ok(()), console)?;
    let metric = opened.experiment.prune.sensitivity.clone();
    let session = Session::open(opened, 1, console.events, console.watcher)?;
    session.check_fits(&network)?;
    foresee(&session, network.declaration(), &Ahead { metrics: &[&metric], ..Ahead::default() })?;
    session.sensitivities(&metric.name, &metric, &network)?;
    session.send(Event::Written { what: "sensitivities".into(), path: session.dir.sensitivity(&metric.name) });
    Ok(())
}
