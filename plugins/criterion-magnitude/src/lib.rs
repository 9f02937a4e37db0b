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

/// From the norms of several filters to one score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// That of the first layer in forward order; the original looks at one layer only.
    First,
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
        let score = |channel: usize| {
            let of_channel = norms.iter().filter_map(|norms| norms[channel]).collect::<Vec<f64>>();
            let sum: f64 = of_channel.iter().sum();
            match self.reduction {
                Reduction::Mean => sum / of_channel.len().max(1) as f64,
                Reduction::Sum => sum,
                Reduction::Max => of_channel.into_iter().fold(0.0, f64::max),
                Reduction::First => of_channel.first().copied().unwrap_or(0.0),
            }
        };
        Ok((0..group.channels).map(score).collect())
    }
}

impl Magnitude {
    /// Norm of the weights of each channel in one producer; none where the producer does not make the channel.
    fn norms(&self, network: &Network, member: &Member) -> Result<Vec<Option<f64>>> {
        let weight = network.parameter(&member.tensor)?.as_detached_tensor().to_dtype(DType::F64)?;
        let each = match self.power {
            Power::Absolute => weight.abs()?,
            Power::Square => weight.sqr()?,
        };
        let filters = each.flatten_from(1)?.sum(1)?.to_vec1::<f64>()?;
        let norm = |places: &Vec<usize>| {
            let sum: f64 = places.iter().map(|&place| filters[place]).sum();
            let norm = match self.power {
                Power::Absolute => sum,
                Power::Square => sum.sqrt(),
            };
            (!places.is_empty()).then_some(norm)
        };
        Ok(member.positions.iter().map(norm).collect())
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
