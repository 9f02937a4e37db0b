//! Criterion `bn-scale`: the size of a channel's batch-norm scale, as in network slimming.
//!
//! It says most of networks that were trained with a penalty on the scales: the trainer `slimming`.

use mrpf_api::coupling::channel_groups;
use mrpf_api::network::LayerKind;
use mrpf_api::prelude::*;

/// Settings of `bn-scale`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct BnScaleSettings {
    /// How the scales of several batch norms that pass one channel on become one score.
    pub reduction: Reduction,
    /// What scores channels that no batch norm passes on.
    pub without_norm: WithoutNorm,
}

/// What scores channels that no batch norm passes on, such as those of hidden linear layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum WithoutNorm {
    /// The Euclidean norm of the filters that produce them: the standard deviation of a filter's output on uncorrelated inputs of variance
    /// 1, as the scale is that of a batch norm's output. Ours; Torch-Pruning leaves such groups whole.
    #[default]
    FilterNorm,
    /// An error that names the group.
    Refuse,
}

register_plugin! {
    kind: Criterion,
    name: "bn-scale",
    summary: "size of the batch-norm scale of a channel; for networks trained by `slimming`",
    source: "Liu et al. 2017, Network Slimming, arXiv 1708.06519",
    settings: BnScaleSettings,
    make: |settings| Ok(Box::new(BnScale(settings))),
}

struct BnScale(BnScaleSettings);

impl Criterion for BnScale {
    fn check(&self, network: &Declaration) -> Result<Foresight> {
        if self.0.without_norm != WithoutNorm::Refuse {
            return Ok(Foresight::Fits);
        }
        for group in channel_groups(network)?.iter().filter(|group| group.frozen.is_none()) {
            let scales = scales(network, group)?;
            if (0..group.channels).any(|channel| scales.iter().all(|member| member.positions[channel].is_empty())) {
                return Err(no_norm(group));
            }
        }
        Ok(Foresight::Fits)
    }

    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let mut rows = Vec::new();
        for member in scales(network.declaration(), group)? {
            rows.push(member.sums(&network.parameter(&member.tensor)?.as_detached_tensor().abs()?)?);
        }
        // A channel may have a norm where another of its group has none.
        let bare = |channel: usize| rows.iter().all(|row| row[channel].is_none());
        if (0..group.channels).any(bare) {
            if self.0.without_norm == WithoutNorm::Refuse {
                return Err(no_norm(group));
            }
            let norms = filter_norms(network, group)?;
            let instead = (0..group.channels).map(|channel| bare(channel).then_some(norms[channel])).collect();
            rows.push(instead);
        }
        Ok(self.0.reduction.reduce(&rows, group.channels))
    }
}

fn no_norm(group: &ChannelGroup) -> Error {
    let message = format!("no batch norm passes on every channel of `{}`", group.name);
    Error::new(ErrorKind::Settings, message).hint("set without_norm = \"filter-norm\"")
}

/// Scales of the batch norms that pass the group on.
fn scales<'a>(network: &Declaration, group: &'a ChannelGroup) -> Result<Vec<&'a Member>> {
    let mut scales = Vec::new();
    for member in group.members.iter().filter(|member| member.role == Role::Norm && member.tensor.ends_with(".weight"))
    {
        if let LayerKind::BatchNorm(_) = network.layer(&member.layer)?.kind {
            scales.push(member);
        }
    }
    Ok(scales)
}

/// Mean over the producers of the Euclidean norm of each channel's filters.
fn filter_norms(network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
    let mut rows = Vec::new();
    for member in group.producers() {
        let squares = member.sums(&network.parameter(&member.tensor)?.as_detached_tensor().in_f64()?.sqr()?)?;
        rows.push(squares.into_iter().map(|square| square.map(f64::sqrt)).collect());
    }
    Ok(Reduction::Mean.reduce(&rows, group.channels))
}

#[cfg(test)]
mod tests;
