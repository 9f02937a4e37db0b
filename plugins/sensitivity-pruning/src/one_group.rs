//! The loss of a network of which one group alone is pruned.

use mrpf_api::coupling::{PruningPlan, channel_groups, cut, fewest_channels};
use mrpf_api::numeric::loss;
use mrpf_api::prelude::*;
use mrpf_api::registry;
use mrpf_api::serde_json::json;
use std::collections::BTreeMap;

/// A network whose groups can be pruned one at a time, and the images that its loss is taken on.
pub struct OneGroup<'a> {
    cx: &'a CallContext<'a>,
    network: &'a Network,
    groups: Vec<ChannelGroup>,
    fewest: Vec<usize>,
    scores: Vec<Vec<f64>>,
    set: Batch,
    batch: usize,
    /// Mean cross-entropy of the network as it is.
    base: f64,
}

impl<'a> OneGroup<'a> {
    /// Scores the channels of every group that can be pruned with the criterion of that name, at its usual settings.
    ///
    /// `set` holds the images, of which `batch` are computed at a time; `data` is for criteria that look at it.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] for a criterion that there is not, [`ErrorKind::Plugin`] if it breaks its contract.
    pub fn new(
        cx: &'a CallContext<'a>,
        network: &'a Network,
        data: &LoadedData,
        criterion: &str,
        set: Batch,
        batch: usize,
    ) -> Result<Self> {
        let groups = channel_groups(network.declaration())?;
        let fewest = fewest_channels(network.declaration(), &groups);
        let scores = scored(cx, network, data, &groups, criterion)?;
        let mut all = Self { cx, network, groups, fewest, scores, set, batch, base: 0.0 };
        all.base = all.loss(network)?;
        Ok(all)
    }

    /// The groups, frozen ones included.
    pub fn groups(&self) -> &[ChannelGroup] {
        &self.groups
    }

    /// How few channels group `at` may keep; all of a frozen one.
    pub fn fewest(&self, at: usize) -> usize {
        self.fewest[at]
    }

    /// How far the mean cross-entropy rises when group `at` keeps its `keep` best channels and every other group all. May be
    /// negative.
    ///
    /// # Errors
    /// [`ErrorKind::Budget`] if so few cannot be kept, [`ErrorKind::Numeric`] if the loss is not finite.
    pub fn rise(&self, at: usize, keep: usize) -> Result<f64> {
        let group = std::slice::from_ref(&self.groups[at]);
        let plan = PruningPlan::keep_highest(group, &self.scores[at..=at], &[keep]);
        let rise = self.loss(&cut(self.network, &plan)?)? - self.base;
        match rise.is_finite() {
            true => Ok(rise),
            false => {
                let message =
                    format!("the loss with {keep} channels of group `{}` is not finite", self.groups[at].name);
                Err(Error::new(ErrorKind::Numeric, message))
            }
        }
    }

    fn loss(&self, network: &Network) -> Result<f64> {
        let frozen = network.freeze()?;
        let rows: Vec<usize> = (0..self.set.len()).collect();
        let mut sum = 0.0;
        let release = || self.network.release_memory().and_then(|()| frozen.release_memory());
        let mut parts = self.cx.parts(rows.len(), self.batch, release);
        while let Some(losses) = parts.next_part(|part| {
            self.cx.check_interrupt()?;
            let part = self.set.select(&rows[part])?;
            let losses = loss::cross_entropy_per_image(&frozen.logits(&part.images)?, &part.labels)?;
            loss::per_image_values(&losses)
        })? {
            sum += losses.into_iter().sum::<f64>();
        }
        Ok(sum / rows.len().max(1) as f64)
    }

    /// A number of each group as a number of each module that produces its channels; `measure` is asked about the groups that can be
    /// pruned, once each. A module with nothing to prune has 0: nothing of it can be lost.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn for_modules(&self, measure: impl Fn(usize) -> Result<f64>) -> Result<Vec<ModuleSensitivity>> {
        let mut of_module: BTreeMap<&str, f64> = BTreeMap::new();
        for (at, group) in self.groups.iter().enumerate() {
            self.cx.step(&format!("group {}", group.name), at, self.groups.len())?;
            if group.frozen.is_some() || self.fewest[at] >= group.channels {
                continue;
            }
            let value = measure(at)?;
            for member in group.producers() {
                // A module whose channels stand in several groups is as sensitive as the most sensitive of them.
                of_module.entry(&member.layer).and_modify(|most| *most = most.max(value)).or_insert(value);
            }
        }
        let modules = self.network.declaration().modules();
        Ok(modules
            .map(|layer| ModuleSensitivity {
                module: layer.name.clone(),
                value: of_module.get(layer.name.as_str()).copied().unwrap_or(0.0),
            })
            .collect())
    }
}

/// Scores of each group's channels; none for frozen groups.
fn scored(
    cx: &CallContext<'_>,
    network: &Network,
    data: &LoadedData,
    groups: &[ChannelGroup],
    name: &str,
) -> Result<Vec<Vec<f64>>> {
    let cx = cx.child("criterion").child(name);
    let mut criterion = registry::make::<dyn Criterion>(name, json!({}))?;
    criterion.prepare(&cx, network, data)?;
    let scores_of = |group: &ChannelGroup| {
        if group.frozen.is_some() {
            return Ok(Vec::new());
        }
        let about = || format!("criterion `{name}` on group `{}`", group.name);
        let scores = criterion.scores(&cx, network, group).context(about)?;
        match scores.len() == group.channels && scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => {
                let message =
                    format!("gave {} scores for {} channels, or one not finite", scores.len(), group.channels);
                Err(Error::new(ErrorKind::Plugin, message).context(about()))
            }
        }
    };
    groups.iter().map(scores_of).collect()
}
