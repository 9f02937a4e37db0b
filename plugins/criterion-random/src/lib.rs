//! Criterion `random`: the control that every other criterion must beat.

use mrpf_api::prelude::*;

/// `random` has no settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

register_plugin! {
    kind: Criterion,
    name: "random",
    summary: "a uniform random number for each channel, from the run's seed",
    source: "the usual control; see Mittal et al. 2018, arXiv 1801.10447",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Random)),
}

struct Random;

impl Criterion for Random {
    fn scores(&self, cx: &CallContext<'_>, _network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let mut stream = cx.streams.child(&group.name).stream();
        Ok((0..group.channels).map(|_| stream.unit()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_hang_on_the_group_and_the_seed_alone() -> Result<()> {
        let input = ImageShape { channels: 1, height: 2, width: 2 };
        let mut net = Builder::new("test", input, 2);
        net.global_avg_pool("pool").linear("out", 2);
        let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F32, &Device::Cpu)?;
        let group = |name: &str| ChannelGroup { name: name.into(), channels: 5, members: Vec::new(), frozen: None };
        let cx = CallContext::unwatched(Streams::new(3));
        let first = Random.scores(&cx, &network, &group("a"))?;
        let other = Random.scores(&cx, &network, &group("b"))?;
        assert_eq!(first, Random.scores(&cx, &network, &group("a"))?);
        assert_ne!(first, other);
        let other_seed = CallContext::unwatched(Streams::new(4));
        assert_ne!(first, Random.scores(&other_seed, &network, &group("a"))?);
        assert!(first.iter().all(|score| (0.0..1.0).contains(score)));
        Ok(())
    }
}
