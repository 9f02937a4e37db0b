//! One pruning step: score, allocate, plan, cut.

use mrpf_api::context::CallContext;
use mrpf_api::coupling::{ChannelGroup, PruningPlan, channel_groups, cut};
use mrpf_api::criterion::Criterion;
use mrpf_api::data::LoadedData;
use mrpf_api::network::Network;
use mrpf_api::sensitivity::ModuleSensitivity;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::allocate::allocate;
use super::dense::Dense;
use super::forecast::padded;
use super::group_sensitivity::group_sensitivities;
use crate::experiment::PruneSettings;

/// What a pruning step is done with.
pub struct PruneStep<'a> {
    /// Streams, progress and interruption.
    pub cx: CallContext<'a>,
    /// How to prune.
    pub settings: &'a PruneSettings,
    /// The data, for criteria that look at it.
    pub data: &'a LoadedData,
    /// Sensitivities of modules; empty when none are needed.
    pub modules: &'a [ModuleSensitivity],
    /// The dense network, which ratios and constraints refer to.
    pub dense: &'a Dense,
    /// The share of it that shall be gone afterwards.
    pub ratio: f64,
}

/// A pruned network.
#[derive(Debug)]
pub struct Pruned {
    /// The smaller network.
    pub network: Network,
    /// The kept channels, in the numbering of the network before the step.
    pub plan: PruningPlan,
    /// Why each group was treated as it was.
    pub record: PruneRecord,
}

/// What a pruning step decided and why; what `mrpf explain` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneRecord {
    /// The share asked to go.
    pub ratio_asked: f64,
    /// The share that went.
    pub ratio_achieved: f64,
    /// What stands between the two, where they differ by more than one percent.
    pub shortfall: Option<String>,
    /// The groups in forward order.
    pub groups: Vec<GroupRecord>,
}

/// What was decided for one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The group, with everything that shrinks with it.
    pub group: ChannelGroup,
    /// Its sensitivity, where it has one.
    pub sensitivity: Option<f64>,
    /// Score of each channel; empty for a frozen group.
    pub scores: Vec<f64>,
    /// The kept channels.
    pub kept: Vec<usize>,
}

impl GroupRecord {
    /// The share of channels removed.
    pub fn ratio(&self) -> f64 {
        1.0 - self.kept.len() as f64 / self.group.channels.max(1) as f64
    }
}

/// Prunes a network once.
///
/// # Errors
/// [`ErrorKind::Budget`] if the ratio is out of reach; [`ErrorKind::Plugin`] if a criterion or an allocation breaks its contract.
pub fn prune_step(step: &PruneStep<'_>, network: &Network) -> Result<Pruned> {
    let settings = step.settings;
    let groups = channel_groups(network.declaration())?;
    let scores = score(step, network, &groups)?;
    let sensitivities = group_sensitivities(&groups, step.modules, settings.combine);
    let problem = step.dense.problem(network.declaration(), &groups, settings.budget, step.ratio)?;
    let solution = allocate(settings, &problem, &sensitivities, &scores)?;
    let ranked: Vec<Vec<f64>> = groups.iter().zip(&scores).map(|(group, scores)| padded(group, scores)).collect();
    let plan = PruningPlan::keep_highest(&groups, &ranked, &solution.keep);
    let pruned = cut(network, &plan)?;
    let records = groups.into_iter().zip(sensitivities).zip(scores).map(|((group, sensitivity), scores)| {
        let kept = plan.keep.get(&group.name).cloned().unwrap_or_default();
        GroupRecord { group, sensitivity, scores, kept }
    });
    let record = PruneRecord {
        ratio_asked: step.ratio,
        // Measured on the network that was cut, not on what the solver aimed at.
        ratio_achieved: step.dense.achieved(pruned.declaration(), settings.budget)?,
        shortfall: solution.shortfall,
        groups: records.collect(),
    };
    Ok(Pruned { network: pruned, plan, record })
}

/// Scores of each group's channels; none for frozen groups, which are not asked about.
fn score(step: &PruneStep<'_>, network: &Network, groups: &[ChannelGroup]) -> Result<Vec<Vec<f64>>> {
    let name = &step.settings.criterion.name;
    let about = |group: &str| format!("criterion `{name}` on group `{group}`");
    let mut criterion = step.settings.criterion.make::<dyn Criterion>()?;
    let cx = step.cx.child("criterion").child(name);
    criterion.prepare(&cx, network, step.data).context(|| format!("criterion `{name}`"))?;
    network.release_memory()?;
    let mut all = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        cx.step("scoring groups", at, groups.len())?;
        if group.frozen.is_some() {
            all.push(Vec::new());
            continue;
        }
        let scores = criterion.scores(&cx, network, group).context(|| about(&group.name))?;
        if scores.len() != group.channels {
            let message = format!("gave {} scores for {} channels", scores.len(), group.channels);
            return Err(Error::new(ErrorKind::Plugin, message).context(about(&group.name)));
        }
        if let Some(channel) = scores.iter().position(|score| !score.is_finite()) {
            let message = format!("score {} of channel {channel} is not finite", scores[channel]);
            return Err(Error::new(ErrorKind::Numeric, message).context(about(&group.name)));
        }
        all.push(scores);
    }
    Ok(all)
}
