//! Criteria by the size of the weights: `l1-norm` and `l2-norm`.

use mrpf_api::prelude::*;

/// Settings of `l1-norm` and `l2-norm`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MagnitudeSettings {
    /// How the norms of the filters that produce one channel become one score.
    pub reduction: Reduction,
}

register_plugin! {
    kind: Criterion,
    name: "l1-norm",
    summary: "sum of the absolute weights of the filters that produce a channel",
    source: "Li et al. 2017, Pruning Filters for Efficient ConvNets, arXiv 1608.08710, section 3.1",
    settings: MagnitudeSettings,
    make: |settings| Ok(Box::new(Magnitude { power: Power::Absolute, reduction: settings.reduction })),
}

register_plugin! {
    kind: Criterion,
    name: "l2-norm",
    summary: "Euclidean norm of the filters that produce a channel",
    source: "He et al. 2018, Soft Filter Pruning, arXiv 1808.06866, equation 2 with p = 2",
    settings: MagnitudeSettings,
    make: |settings| Ok(Box::new(Magnitude { power: Power::Square, reduction: settings.reduction })),
}

enum Power {
    Absolute,
    Square,
}

struct Magnitude {
    power: Power,
    reduction: Reduction,
}

impl Criterion for Magnitude {
    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let norms: Vec<Vec<Option<f64>>> =
            group.producers().map(|member| self.norms(network, member)).collect::<Result<_>>()?;
        Ok(self.reduction.reduce(&norms, group.channels))
    }
}

impl Magnitude {
    /// Norm of the weights of each channel in one producer; none where the producer does not make the channel.
    fn norms(&self, network: &Network, member: &Member) -> Result<Vec<Option<f64>>> {
        let weight = network.parameter(&member.tensor)?.as_detached_tensor().in_f64()?;
        match self.power {
            Power::Absolute => member.sums(&weight.abs()?),
            Power::Square => Ok(member.sums(&weight.sqr()?)?.into_iter().map(|square| square.map(f64::sqrt)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::channel_groups;

    /// Two convolutions added: one group with two producers of three filters each.
    fn network() -> Result<Network> {
        let input = ImageShape { channels: 1, height: 2, width: 2 };
        let mut net = Builder::new("test", input, 2);
        net.conv("a", 3, ConvGeometry::square(1), false);
        net.from("input").conv("b", 3, ConvGeometry::square(1), false);
        net.add("sum", "a").global_avg_pool("pool").linear("out", 2);
        let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
        let column = |values: [f64; 3]| Tensor::from_vec(values.to_vec(), (3, 1, 1, 1), &Device::Cpu);
        network.parameter("a.weight")?.set(&column([1.0, -2.0, 3.0])?)?;
        network.parameter("b.weight")?.set(&column([-4.0, 0.5, 1.0])?)?;
        Ok(network)
    }

    fn scores(name: &str, reduction: &str) -> Result<Vec<f64>> {
        let (network, cx) = (network()?, CallContext::unwatched(Streams::new(0)));
        let settings = mrpf_api::serde_json::json!({ "reduction": reduction });
        let criterion = mrpf_api::registry::make::<dyn Criterion>(name, settings)?;
        criterion.scores(&cx, &network, &channel_groups(network.declaration())?[0])
    }

    #[test]
    fn scores_are_the_norms_by_hand() -> Result<()> {
        assert_eq!(scores("l1-norm", "mean")?, [2.5, 1.25, 2.0]);
        assert_eq!(scores("l1-norm", "sum")?, [5.0, 2.5, 4.0]);
        assert_eq!(scores("l1-norm", "max")?, [4.0, 2.0, 3.0]);
        assert_eq!(scores("l1-norm", "first")?, [1.0, 2.0, 3.0]);
        assert_eq!(scores("l2-norm", "first")?, [1.0, 2.0, 3.0]);
        Ok(())
    }

    #[test]
    fn a_setting_that_does_not_exist_is_refused() {
        let error = scores("l1-norm", "median").expect_err("no such reduction");
        assert!(error.to_string().contains("setting `reduction`"), "{error}");
    }

    #[test]
    fn the_norm_runs_over_all_weights_of_a_filter() -> Result<()> {
        let mut net = Builder::new("test", ImageShape { channels: 2, height: 2, width: 2 }, 2);
        net.conv("a", 2, ConvGeometry::square(1), false).global_avg_pool("pool").linear("out", 2);
        let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
        let filters = Tensor::from_vec(vec![3.0, -4.0, 0.0, 6.0], (2, 2, 1, 1), &Device::Cpu)?;
        network.parameter("a.weight")?.set(&filters)?;
        let (groups, cx) = (channel_groups(network.declaration())?, CallContext::unwatched(Streams::new(0)));
        for (name, expected) in [("l1-norm", [7.0, 6.0]), ("l2-norm", [5.0, 6.0])] {
            let criterion = mrpf_api::registry::make::<dyn Criterion>(name, mrpf_api::serde_json::json!({}))?;
            assert_eq!(criterion.scores(&cx, &network, &groups[0])?, expected, "{name}");
        }
        Ok(())
    }
}
