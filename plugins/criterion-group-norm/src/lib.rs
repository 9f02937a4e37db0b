//! Criteria by the weights of everything that goes with a channel: `group-norm` and `lamp`.

mod lamp;

use mrpf_api::prelude::*;

pub use lamp::{LampSettings, Level};

/// Settings of `group-norm`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct GroupNormSettings {
    /// The power p in `sum |w|^p`; above 0. No root is taken.
    pub power: f64,
    /// How the sums of the tensors that belong to one channel become one score.
    pub reduction: Reduction,
    /// What the scores of a group are divided by.
    pub normalise: Normaliser,
    /// Whether scales of batch norms count.
    pub norms: bool,
    /// Whether weights of depthwise convolutions count; not in Torch-Pruning.
    pub depthwise: bool,
}

/// What the scores of a group are divided by, so that groups can be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Normaliser {
    /// Their mean.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// Nothing.
    None,
}

impl Default for GroupNormSettings {
    fn default() -> Self {
        let (reduction, normalise) = (Reduction::default(), Normaliser::default());
        Self { power: 2.0, reduction, normalise, norms: true, depthwise: true }
    }
}

register_plugin! {
    kind: Criterion,
    name: "group-norm",
    summary: "sum of powers of all weights that go with a channel, on both of its sides, relative to its group",
    source: "Fang et al. 2023, DepGraph, arXiv 2301.12900; the mean over tensors and the normaliser as in Torch-Pruning",
    settings: GroupNormSettings,
    make: |settings| {
        if settings.power > 0.0 && settings.power.is_finite() {
            return Ok(Box::new(GroupNorm(settings)));
        }
        let message = format!("power {}, expected a number above 0", settings.power);
        Err(Error::new(ErrorKind::Settings, message))
    },
}

struct GroupNorm(GroupNormSettings);

impl Criterion for GroupNorm {
    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let GroupNormSettings { power, reduction, normalise, norms, depthwise } = self.0;
        let coupled = CoupledWeights { norms, depthwise, biases: false };
        let mut scores = coupled.scores(network, group, reduction, |_, weight| powers(weight, power))?;
        let sum: f64 = scores.iter().sum();
        let scale = match normalise {
            Normaliser::Mean => sum / scores.len().max(1) as f64,
            Normaliser::Max => scores.iter().copied().fold(0.0, f64::max),
            Normaliser::Sum => sum,
            Normaliser::None => 1.0,
        };
        // A group of zeros has nothing to be compared.
        if scale > 0.0 {
            scores.iter_mut().for_each(|score| *score /= scale);
        }
        Ok(scores)
    }
}

/// `|w|^p` of each weight.
fn powers(weight: &Tensor, power: f64) -> Result<Tensor> {
    Ok(match power {
        1.0 => weight.abs()?,
        2.0 => weight.sqr()?,
        _ => weight.abs()?.powf(power)?,
    })
}

#[cfg(test)]
mod tests;
