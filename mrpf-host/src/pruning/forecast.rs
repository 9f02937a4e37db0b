//! What pruning would leave, told before anything is trained, measured or cut.

use mrpf_api::Result;
use mrpf_api::allocation::Allocation;
use mrpf_api::coupling::{ChannelGroup, Cost, PruningPlan, channel_groups, cost, cut_declaration};
use mrpf_api::network::{Declaration, LayerKind};
use mrpf_api::sensitivity::ModuleSensitivity;
use serde::Serialize;

use super::allocate::allocate;
use super::dense::Dense;
use super::group_sensitivity::group_sensitivities;
use crate::experiment::PruneSettings;

/// What a forecast is made of.
#[derive(Debug, Clone, Copy)]
pub struct ForecastRequest<'a> {
    /// The network as it is now.
    pub declaration: &'a Declaration,
    /// The allocation, what the ratio counts, and the names of what is not known yet.
    pub settings: &'a PruneSettings,
    /// The network that ratio and constraints refer to; before the first round the same.
    pub dense: &'a Dense,
    /// The share of the dense network's figure that shall be gone.
    pub ratio: f64,
    /// Sensitivities of modules, if they have been measured.
    pub modules: Option<&'a [ModuleSensitivity]>,
    /// Score of each channel of each group, none for frozen ones, if they are known.
    pub scores: Option<&'a [Vec<f64>]>,
}

/// What pruning in one round would leave. Widths are those that pruning gives, as long as nothing is in `unknown`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// What the ratio counts.
    pub budget: String,
    /// The share asked to go.
    pub ratio_asked: f64,
    /// The share that would go.
    pub ratio_achieved: f64,
    /// What stands between the two, where they differ by more than one percent.
    pub shortfall: Option<String>,
    /// Cost of the network as it is now.
    pub before: Cost,
    /// Cost of what would be left.
    pub after: Cost,
    /// Milliseconds of a pass now and then, by the table of layer times, if there is one.
    pub latency_ms: Option<[f64; 2]>,
    /// Convolutions and linear layers in forward order.
    pub layers: Vec<LayerForecast>,
    /// What the widths depend on and is not known yet, a sentence each.
    pub unknown: Vec<String>,
}

/// How many channels a layer would keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerForecast {
    /// The layer.
    pub layer: String,
    /// The group that its channels belong to.
    pub group: String,
    /// Its output channels now.
    pub channels: usize,
    /// Those that it would keep.
    pub keep: usize,
    /// Why it must stay whole, if it must.
    pub whole: Option<String>,
}

/// Tells what pruning would leave.
///
/// Sensitivities or scores that the allocation looks at and that are not given are taken to be alike in all groups, and said to be unknown.
///
/// # Errors
/// As [`super::prune_step`]: [`mrpf_api::ErrorKind::Budget`] if the ratio is out of reach.
pub fn forecast(request: &ForecastRequest<'_>) -> Result<Forecast> {
    let ForecastRequest { declaration, settings, dense, ratio, .. } = *request;
    let groups = channel_groups(declaration)?;
    let problem = dense.problem(declaration, &groups, settings.budget, ratio)?;
    let allocation = settings.allocation.make::<dyn Allocation>()?;
    let mut unknown = Vec::new();
    let mut note = |what: &str, name: &str, by: &str| {
        unknown.push(format!("the {what} of `{name}` are not known yet: all groups are taken to be {by}"));
    };
    let sensitivities = match request.modules {
        Some(modules) => group_sensitivities(&groups, modules, settings.combine),
        None => {
            if allocation.needs_sensitivity() {
                note("sensitivities", &settings.sensitivity.name, "equally sensitive");
            }
            groups.iter().map(|group| group.producers().next().map(|_| 1.0)).collect()
        }
    };
    let scores = match request.scores {
        Some(scores) => scores.to_vec(),
        None => {
            if allocation.needs_scores() {
                note("scores", &settings.criterion.name, "scored alike");
            }
            groups.iter().map(even_scores).collect()
        }
    };
    let solution = allocate(settings, &problem, &sensitivities, &scores)?;
    let ranked: Vec<Vec<f64>> = groups.iter().zip(&scores).map(|(group, scores)| padded(group, scores)).collect();
    let left = cut_declaration(declaration, &PruningPlan::keep_highest(&groups, &ranked, &solution.keep))?;
    Ok(Forecast {
        budget: settings.budget.name().into(),
        ratio_asked: ratio,
        ratio_achieved: dense.achieved(&left, settings.budget)?,
        shortfall: solution.shortfall,
        before: cost(declaration)?,
        after: cost(&left)?,
        latency_ms: dense.table.as_ref().map(|table| [declaration, &left].map(|network| table.network(network))),
        layers: layers(declaration, &left, &groups, problem.allowed()),
        unknown,
    })
}

/// Scores that go up by even steps, so that no group stands out.
fn even_scores(group: &ChannelGroup) -> Vec<f64> {
    match group.frozen {
        Some(_) => Vec::new(),
        None => (1..=group.channels).map(|place| place as f64 / group.channels as f64).collect(),
    }
}

/// Scores with zeros for frozen groups, which keep every channel in order.
pub(super) fn padded(group: &ChannelGroup, scores: &[f64]) -> Vec<f64> {
    if scores.is_empty() { vec![0.0; group.channels] } else { scores.to_vec() }
}

fn layers(
    now: &Declaration,
    then: &Declaration,
    groups: &[ChannelGroup],
    allowed: &[Vec<usize>],
) -> Vec<LayerForecast> {
    let outputs = |kind: &LayerKind| match kind {
        LayerKind::Conv2d(conv) => conv.out_channels,
        LayerKind::Linear(linear) => linear.out_features,
        _ => 0,
    };
    let of_layer = |layer: &str| {
        let found = groups.iter().position(|group| group.producers().any(|producer| producer.layer == layer));
        found.map(|at| (&groups[at], allowed[at].len() == 1))
    };
    now.modules()
        .zip(then.modules())
        .map(|(now, then)| {
            let found = of_layer(&now.name);
            let whole = found.and_then(|(group, fixed)| match &group.frozen {
                Some(reason) => Some(reason.clone()),
                None => fixed.then(|| "the constraints leave it whole".to_owned()),
            });
            let (channels, keep) = (outputs(&now.kind), outputs(&then.kind));
            LayerForecast {
                layer: now.name.clone(),
                group: found.map_or_else(|| now.name.clone(), |(group, _)| group.name.clone()),
                channels,
                keep,
                whole: whole.filter(|_| channels == keep),
            }
        })
        .collect()
}
