//! Criterion `plugin-name`: how much the weights that make a channel vary.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// Whether scores are divided by the mean score of their layer.
    pub relative: bool,
}

export_plugin!();

register_plugin! {
    kind: Criterion,
    name: "plugin-name",
    summary: "variance of the weights that make a channel",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName { relative: settings.relative })),
}

struct PluginName {
    relative: bool,
}

impl Criterion for PluginName {
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        // Asked before anything is computed. Refuse here what `scores` would refuse; it takes every network.
        Ok(Foresight::Fits)
    }

    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        // Several layers may make the same channel, for example those that a residual connection adds up: their scores are summed.
        group.sum_over_filters(network, |weight| {
            // A filter is a row of the weight: `[out, in, height, width]`, or `[out, in]`.
            let filters = weight.to_dtype(DType::F64)?.flatten_from(1)?;
            let variances = filters.broadcast_sub(&filters.mean_keepdim(1)?)?.sqr()?.mean(1)?.to_vec1::<f64>()?;
            let mean = variances.iter().sum::<f64>() / variances.len().max(1) as f64;
            let scale = if self.relative && mean > 0.0 { mean } else { 1.0 };
            Ok(variances.into_iter().map(|variance| variance / scale).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Criterion, "plugin-name")
    }
}
