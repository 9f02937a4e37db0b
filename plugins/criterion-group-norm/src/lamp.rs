//! Criterion `lamp`: magnitudes as shares of what is not smaller, so that layers can be compared without a ratio for each.

use mrpf_api::prelude::*;

/// Settings of `lamp`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct LampSettings {
    /// What is set in relation to what is not smaller.
    pub level: Level,
    /// How the numbers of the tensors that belong to one channel become one.
    pub reduction: Reduction,
    /// Whether scales of batch norms count; only at the level `channel`.
    pub norms: bool,
    /// Whether weights of depthwise convolutions count; not in Torch-Pruning.
    pub depthwise: bool,
}

/// What is set in relation to what is not smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Level {
    /// The squared weights of a channel, summed up and reduced over its tensors, among the channels of its group: Torch-Pruning's.
    #[default]
    Channel,
    /// The square of each weight among those of its tensor, as in the paper, then summed up over the channel's weights and reduced over its
    /// tensors.
    Weight,
}

impl Default for LampSettings {
    fn default() -> Self {
        Self { level: Level::default(), reduction: Reduction::default(), norms: true, depthwise: true }
    }
}

register_plugin! {
    kind: Criterion,
    name: "lamp",
    summary: "squared weights of a channel as a share of those of the channels that are not smaller",
    source: "Lee et al. 2021, Layer-Adaptive Sparsity for the Magnitude-Based Pruning, arXiv 2010.07611; on channels as in Torch-Pruning (Fang et al. 2023, arXiv 2301.12900)",
    settings: LampSettings,
    make: |settings| Ok(Box::new(Lamp(settings))),
}

struct Lamp(LampSettings);

impl Criterion for Lamp {
    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let LampSettings { level, reduction, norms, depthwise } = self.0;
        match level {
            Level::Channel => {
                let coupled = CoupledWeights { norms, depthwise, biases: false };
                let mut scores = coupled.scores(network, group, reduction, |_, weight| Ok(weight.sqr()?))?;
                shares(&mut scores);
                Ok(scores)
            }
            Level::Weight => {
                let coupled = CoupledWeights { norms: false, depthwise, biases: false };
                coupled.scores(network, group, reduction, |_, weight| {
                    let mut squares = weight.sqr()?.flatten_all()?.to_vec1::<f64>()?;
                    shares(&mut squares);
                    Ok(Tensor::from_vec(squares, weight.shape(), &Device::Cpu)?)
                })
            }
        }
    }
}

/// Each of some numbers that are not negative, divided by the sum of all that are not smaller: the largest becomes 1, equal ones stay
/// equal.
pub(crate) fn shares(values: &mut [f64]) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    let (mut sum, mut at) = (0.0, 0);
    while at < order.len() {
        let value = values[order[at]];
        let equal = order[at..].iter().take_while(|&&other| values[other] == value).count();
        sum += value * equal as f64;
        let share = if sum > 0.0 { value / sum } else { 0.0 };
        order[at..at + equal].iter().for_each(|&place| values[place] = share);
        at += equal;
    }
}
