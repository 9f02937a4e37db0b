//! What a comparison would compute, before anything is spent: kept channels, costs, and how long it would take.

use mrpf_api::Result;
use mrpf_api::context::{CallContext, Watcher};
use mrpf_api::coupling::cost;
use mrpf_api::network::Network;
use mrpf_api::random::Streams;
use mrpf_api::sensitivity::ModuleSensitivity;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

use super::findings::Place;
use super::plan::{Plan, PlannedRow};
use super::rehearsal::{Priced, Rehearsal, Tried, ascending};
use super::stage::{Stage, Work};
use super::store::Store;
use super::work::names;
use crate::device::OpenDevice;
use crate::evaluation::{Latency, measure_latency};
use crate::output::{count, duration, percent};
use crate::pruning::GroupRecord;

/// What would be computed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Name of the experiment.
    pub name: String,
    /// Pruned networks, seeds counted.
    pub networks: usize,
    /// Stages in all.
    pub stages: usize,
    /// Stages that are there from before.
    pub reused: usize,
    /// A row for each method at each setting; seeds of it keep the same numbers of channels.
    pub rows: Vec<ForecastRow>,
    /// How long what is missing would take, at most, with all cores of this machine, and on one device.
    pub seconds: f64,
    /// The devices that would share it, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

/// What a method would make of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastRow {
    /// The method.
    pub method: String,
    /// Value of each setting that is varied.
    pub settings: BTreeMap<String, String>,
    /// Whether the kept channels are sure. Where they depend on weights or sensitivities that are not there yet, they are those of an
    /// untrained network.
    pub certain: bool,
    /// The share of the budget's figure asked to go.
    pub ratio_asked: f64,
    /// The share that would go.
    pub ratio_achieved: f64,
    /// Why they differ, where they do by more than one percent.
    pub shortfall: Option<String>,
    /// Multiply-accumulates for an image, before and after.
    pub macs: [u64; 2],
    /// Parameters, before and after.
    pub params: [u64; 2],
    /// Time of a pass on this machine, before and after.
    pub latency: [Latency; 2],
    /// Channels of each group that are not frozen: kept, and all.
    pub keep: Vec<KeptOf>,
}

/// Kept channels of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptOf {
    /// The group.
    pub group: String,
    /// Kept.
    pub kept: usize,
    /// All.
    pub channels: usize,
}

impl Forecast {
    /// Tries what is planned. `store` is where an earlier call has left results, if one has; nothing is written to it.
    ///
    /// # Errors
    /// Whatever would stop a stage, such as a ratio out of reach.
    pub fn new(
        name: &str,
        plan: &Plan,
        store: Option<&Store>,
        device: &OpenDevice,
        watcher: &dyn Watcher,
    ) -> Result<Self> {
        let mut trial = Trial {
            plan,
            store,
            rehearsal: Rehearsal::new(device.clone(), watcher)?,
            dense: BTreeMap::new(),
            fresh: BTreeMap::new(),
        };
        let mut forecast = Self {
            name: name.to_owned(),
            networks: plan.rows.len(),
            stages: plan.stages.len(),
            reused: 0,
            rows: Vec::new(),
            seconds: 0.0,
            devices: Vec::new(),
        };
        // Seeds of a row cost the same, so one of them is tried for all.
        let (mut tried, mut rows) = (Vec::<Priced>::new(), BTreeMap::new());
        let mut cuts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &plan.rows {
            let place = (&row.cell.place.method, &row.cell.place.settings);
            let at = match rows.get(&place) {
                Some(at) => *at,
                None => {
                    let (forecasted, network) = trial.row(row)?;
                    forecast.rows.push(forecasted);
                    tried.push(Priced::new(network.network)?);
                    rows.insert(place, tried.len() - 1);
                    tried.len() - 1
                }
            };
            cuts.insert(&row.prune, at);
        }
        let watching = CallContext::new(Streams::new(0), watcher);
        for (at, stage) in plan.stages.iter().enumerate() {
            watching.step("stages tried", at, plan.stages.len())?;
            if trial.is_done(&stage.key)? {
                forecast.reused += 1;
                continue;
            }
            forecast.seconds += match &stage.work {
                Work::Attack { of } => match cuts.get(of.as_str()) {
                    Some(at) => trial.rehearsal.seconds(stage, &tried[*at])?,
                    None => trial.seconds_with_dense(stage)?,
                },
                Work::Train | Work::Measure { .. } | Work::Time { .. } | Work::Prune { .. } => {
                    trial.seconds_with_dense(stage)?
                }
            };
        }
        Ok(forecast)
    }
}

/// What the rows are tried with.
struct Trial<'a> {
    plan: &'a Plan,
    store: Option<&'a Store>,
    rehearsal: Rehearsal<'a>,
    /// Dense networks by the stage that trains them.
    dense: BTreeMap<String, Network>,
    /// Untrained networks by the settings that they are made with: what a stage costs does not depend on weights.
    fresh: BTreeMap<String, Priced>,
}

impl Trial<'_> {
    fn is_done(&self, key: &str) -> Result<bool> {
        Ok(self.store.map(|store| store.done(key)).transpose()?.flatten().is_some())
    }

    /// The trained network where it is there, one with fresh weights where not.
    fn dense(&mut self, key: &str) -> Result<Network> {
        if !self.dense.contains_key(key) {
            let trained = match (self.store, self.is_done(key)?) {
                (Some(store), true) => store.read(key)?.read_network(names::DENSE)?,
                _ => None,
            };
            let network = match (trained, self.plan.stage(key)) {
                (Some(network), _) => network.to_device(self.rehearsal.device())?,
                (None, Some(stage)) => self.rehearsal.fresh(&stage.experiment, stage.experiment.seed)?,
                (None, None) => return Err(super::plan::no_stage(key)),
            };
            self.dense.insert(key.to_owned(), network);
        }
        self.dense[key].duplicate()
    }

    fn seconds_with_dense(&mut self, stage: &Stage) -> Result<f64> {
        let key = Rehearsal::key(&stage.experiment);
        if !self.fresh.contains_key(&key) {
            let network = self.rehearsal.fresh(&stage.experiment, stage.experiment.seed)?;
            self.fresh.insert(key.clone(), Priced::new(network)?);
        }
        self.rehearsal.seconds(stage, &self.fresh[&key])
    }

    fn row(&mut self, row: &PlannedRow) -> Result<(ForecastRow, Tried)> {
        let Some(stage) = self.plan.stage(&row.prune) else { return Err(super::plan::no_stage(&row.prune)) };
        let Work::Prune { dense: trained, sensitivity, .. } = &stage.work else {
            return Err(super::plan::no_stage(&row.prune));
        };
        let dense = self.dense(trained)?;
        let measured = match (self.store, sensitivity) {
            (Some(store), Some(key)) if store.done(key)?.is_some() => {
                store.read(key)?.read_sensitivity(names::SENSITIVITY)?
            }
            _ => None,
        };
        let open = sensitivity.is_some() && measured.is_none();
        let even = |network: &Network| -> Vec<ModuleSensitivity> {
            ascending(network).into_iter().map(|module| ModuleSensitivity { value: 1.0, ..module }).collect()
        };
        let modules = match (measured, open) {
            (Some(measured), _) => measured,
            (None, true) => even(&dense),
            (None, false) => Vec::new(),
        };
        let tried = self.rehearsal.cut(stage, &dense, &modules)?;
        let keep = keep(&tried.record.groups);
        // What two networks that share only their shape agree on does not depend on weights or sensitivities.
        let certain = (self.is_done(trained)? && !open) || {
            let other = self.rehearsal.fresh(&stage.experiment, stage.experiment.seed.wrapping_add(1))?;
            let modules = if open { ascending(&other) } else { modules };
            self.rehearsal.cut(stage, &other, &modules).is_ok_and(|other| self::keep(&other.record.groups) == keep)
        };
        let after = cost(tried.network.declaration())?;
        let cx = CallContext::unwatched(Streams::new(0));
        let forecast = ForecastRow {
            method: row.cell.place.method.clone(),
            settings: row.cell.place.settings.clone(),
            certain,
            ratio_asked: tried.record.ratio_asked,
            ratio_achieved: tried.record.ratio_achieved,
            shortfall: tried.record.shortfall.clone(),
            macs: [tried.dense.macs, after.macs],
            params: [tried.dense.params, after.params],
            latency: [measure_latency(&cx, &dense)?, measure_latency(&cx, &tried.network)?],
            keep,
        };
        Ok((forecast, tried))
    }
}

fn keep(groups: &[GroupRecord]) -> Vec<KeptOf> {
    let free = groups.iter().filter(|group| group.group.frozen.is_none());
    let of = |group: &GroupRecord| KeptOf {
        group: group.group.name.clone(),
        kept: group.kept.len(),
        channels: group.group.channels,
    };
    free.map(of).collect()
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "`{}`: {} pruned networks, {} stages, {} there from before",
            self.name, self.networks, self.stages, self.reused
        )?;
        for row in &self.rows {
            let ForecastRow { macs, params, latency, .. } = row;
            let settings = Place::settings_text(&row.settings);
            let sure = if row.certain { "" } else { "about " };
            writeln!(
                f,
                "\n{}{settings}: {sure}{} of {} asked for would go",
                row.method,
                percent(row.ratio_achieved),
                percent(row.ratio_asked)
            )?;
            writeln!(
                f,
                "  MACs {} of {}, parameters {} of {}, {:.1} of {:.1} ms for {} images",
                count(macs[1]),
                count(macs[0]),
                count(params[1]),
                count(params[0]),
                latency[1].median_ms,
                latency[0].median_ms,
                latency[0].batch
            )?;
            let groups = row.keep.iter().map(|keep| format!("{} {}/{}", keep.group, keep.kept, keep.channels));
            let text = format!("  keeps {sure}{}", groups.collect::<Vec<_>>().join(", "));
            for line in wrapped(&text) {
                writeln!(f, "{line}")?;
            }
            if let Some(why) = &row.shortfall {
                writeln!(f, "  {why}")?;
            }
        }
        if self.rows.iter().any(|row| !row.certain) {
            writeln!(
                f,
                "\n\"about\": what this method keeps depends on the trained network; shown is what it would keep of an untrained one"
            )?;
        }
        match self.stages - self.reused {
            0 => write!(f, "\neverything is there; only tables would be written"),
            open => {
                let time = duration(self.seconds);
                let on = if self.devices.is_empty() { "on this machine" } else { "on one device" };
                write!(
                    f,
                    "\n{open} stages to compute: at most about {time} {on}, from trying each kind of work on a few images"
                )?;
                match self.devices.len() {
                    0 => Ok(()),
                    count => write!(f, "\n{count} devices would share them: {}", self.devices.join(", ")),
                }
            }
        }
    }
}

/// Lines of at most 100 characters, broken at commas.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(", ") {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + part.trim_end().len() > 100 {
            lines.push("    ".to_owned());
        }
        let last = lines.len() - 1;
        lines[last].push_str(part);
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_text() {
        let latency = |median_ms| Latency { batch: 64, median_ms };
        let row = ForecastRow {
            method: "mrs-l1-norm".into(),
            settings: BTreeMap::from([("prune.ratio".to_owned(), "0.5".to_owned())]),
            certain: false,
            ratio_asked: 0.5,
            ratio_achieved: 0.42,
            shortfall: Some("nothing more can go: every group keeps a tenth".into()),
            macs: [2_000_000, 1_160_000],
            params: [20_000, 9_000],
            latency: [latency(4.0), latency(2.5)],
            keep: (1..12)
                .map(|at| KeptOf { group: format!("layer{at}.conv1"), kept: 4 * at, channels: 8 * at })
                .collect(),
        };
        let sure = ForecastRow { method: "l1-norm-uniform".into(), certain: true, shortfall: None, ..row.clone() };
        let rows = vec![row, sure];
        let forecast = Forecast {
            name: "digits".into(),
            networks: 4,
            stages: 11,
            reused: 3,
            rows,
            seconds: 75.0,
            devices: Vec::new(),
        };
        insta::assert_snapshot!(forecast);
        let two = Forecast {
            devices: ["cuda:0", "cuda:1"].map(str::to_owned).to_vec(),
            rows: Vec::new(),
            ..forecast.clone()
        };
        assert!(two.to_string().ends_with("\n2 devices would share them: cuda:0, cuda:1"), "{two}");
        let all = Forecast { reused: 11, rows: Vec::new(), ..forecast };
        assert!(all.to_string().ends_with("everything is there; only tables would be written"), "{all}");
    }
}
