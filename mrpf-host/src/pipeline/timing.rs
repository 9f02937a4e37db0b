//! The stage that times layers, for budgets of latency, and what the time of the real network says about it.

use mrpf_api::budget::{BudgetKind, LatencyTable};
use mrpf_api::network::Network;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::path::Path;

use super::keys::network_digest;
use super::session::Session;
use crate::evaluation::measure_latency;
use crate::event::{Event, EventSink};
use crate::experiment::{PruneSettings, Variant};
use crate::files::{read_if_there, sha256};
use crate::pruning::{Dense, measure_layer_times};
use crate::run_dir::check_named_file;
use crate::stage_key::StageKey;

/// The stage that times layers.
const STAGE: &str = "time layers";
/// How far the measured share of the time may be from the predicted one before it is said.
const CLOSE: f64 = 0.1;

impl Session<'_> {
    /// What ratios and constraints of the variant refer to, with the times of layers where it needs them: those of the run, of the file
    /// that the settings name, or measured now. They are kept in the run directory, so that a resumed run has the same.
    ///
    /// # Errors
    /// As [`Dense::new`]; [`ErrorKind::Data`] for a file that is no table or one of another network.
    pub fn dense(&self, network: &Network, settings: &PruneSettings) -> Result<Dense> {
        let dense = Dense::new(network.declaration(), settings)?;
        if settings.budget != BudgetKind::Latency {
            return Ok(dense);
        }
        let mut key = StageKey::default().with_input("network", network_digest(network)?);
        if let Some(file) = &settings.latency_table {
            key = key.with("prune.latency_table", &sha256(&read_if_there(file)?.unwrap_or_default()))?;
        }
        let kept = if self.dir.is_done(STAGE, &key)? { self.dir.read_layer_times()? } else { None };
        let table = match kept {
            Some(table) => table,
            None => {
                let table = match &settings.latency_table {
                    Some(file) => read_layer_times(file)?,
                    None => {
                        self.stage(STAGE, || Ok((measure_layer_times(&self.context("timing"), network)?, false)))?
                    }
                };
                self.dir.write_layer_times(&table)?;
                self.dir.write_done(STAGE, &key, &[self.dir.layer_times()])?;
                table
            }
        };
        Ok(dense.timed(fitting(table, network)?))
    }

    /// Measures the dense and the cut network, and warns where their times are far from what the table of layer times says.
    pub fn check_latency(&self, variant: &Variant, dense: &Network, cut: &Network, predicted: f64) -> Result<()> {
        let cx = self.context("timing");
        let [before, after] = [measure_latency(&cx, dense)?.median_ms, measure_latency(&cx, cut)?.median_ms];
        let measured = 1.0 - after / before.max(f64::MIN_POSITIVE);
        if (measured - predicted).abs() > CLOSE {
            let message = format!(
                "the table of layer times says that {:.1} % of the latency is gone, measured {:.1} % are ({before:.2} to {after:.2} ms)",
                100.0 * predicted,
                100.0 * measured
            );
            self.send(Event::Warning { about: variant.name.clone(), message });
        }
        Ok(())
    }
}

/// Reads a table of layer times.
///
/// # Errors
/// [`ErrorKind::Data`] if it is none.
pub fn read_layer_times(file: &Path) -> Result<LatencyTable> {
    let about = || format!("reading {}", file.display());
    let bytes = read_if_there(file)?.unwrap_or_default();
    check_named_file(file, &bytes).context(about)?;
    let table: LatencyTable = serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(ErrorKind::Data, format!("is no table of layer times: {error}")).context(about())
    })?;
    table.checked().context(about)
}

/// The table, if its layers are those of the network with their widths.
fn fitting(table: LatencyTable, network: &Network) -> Result<LatencyTable> {
    let declaration = network.declaration();
    for layer in declaration.modules() {
        let [outputs, inputs] = mrpf_api::budget::widths(&layer.kind);
        let times = table.layers.iter().find(|times| times.layer == layer.name);
        let fits =
            times.is_some_and(|times| times.outputs.last() == Some(&outputs) && times.inputs.last() == Some(&inputs));
        if !fits {
            let message = format!(
                "the table of layer times has none of `{}` with {outputs} outputs and {inputs} inputs",
                layer.name
            );
            return Err(Error::new(ErrorKind::Data, message).hint(
                "a table serves the network that it was measured on; leave prune.latency_table out to measure anew",
            ));
        }
    }
    Ok(table)
}
