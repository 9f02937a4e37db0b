//! `mrpf prune --dry-run`: what would be left, before anything is spent.

use mrpf_api::budget::BudgetKind;
use mrpf_api::context::CallContext;
use mrpf_api::random::Streams;
use mrpf_api::{Error, ErrorKind, Result};
use std::path::PathBuf;

use super::Console;
use super::open::load_for_model;
use super::prune::read_sensitivity;
use crate::cli::PruneArgs;
use crate::output::forecast_text;
use crate::pipeline::{read_layer_times, read_model};
use crate::pruning::{Dense, ForecastRequest, forecast, measure_layer_times};

/// Prints the forecast for a saved network.
pub fn dry_run(args: &PruneArgs, console: &Console<'_>) -> Result<()> {
    let network = read_model(&args.model.model)?.to_device(&console.device.device)?;
    let read = |path: &PathBuf| read_sensitivity(path, network.declaration());
    let modules = args.sensitivity.as_ref().map(read).transpose()?;
    let experiment = load_for_model(&args.model.model, &args.model.experiment, &args.model.shared, console)?;
    let settings = &experiment.prune;
    let mut dense = Dense::new(network.declaration(), settings)?;
    if args.latency || settings.budget == BudgetKind::Latency {
        let cx = CallContext::new(Streams::new(experiment.seed), console.watcher);
        dense = dense.timed(match &settings.latency_table {
            Some(file) => read_layer_times(file)?,
            None => measure_layer_times(&cx, &network)?,
        });
    }
    let forecast = forecast(&ForecastRequest {
        declaration: network.declaration(),
        settings,
        dense: &dense,
        ratio: settings.ratio,
        modules: modules.as_deref(),
        scores: None,
    })?;
    (console.print)(&match args.model.shared.json {
        true => serde_json::to_string_pretty(&forecast)
            .map_err(|error| Error::new(ErrorKind::Io, format!("the forecast cannot be written: {error}")))?,
        false => forecast_text(&forecast),
    });
    Ok(())
}
