//! Criterion `redundancy`: a channel goes first whose filter is nearly that of another.

use mrpf_api::prelude::*;

/// Settings of `redundancy`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct RedundancySettings {
    /// Whether a filter that is another's negative counts as different: after a ReLU the two say different things.
    pub signed: bool,
}

export_plugin!();

register_plugin! {
    kind: Criterion,
    name: "redundancy",
    summary: "one minus the highest cosine between a channel's filter and another of its layer",
    source: "own",
    settings: RedundancySettings,
    make: |settings| Ok(Box::new(Redundancy { signed: settings.signed })),
}

struct Redundancy {
    signed: bool,
}

impl Redundancy {
    /// For each filter of a weight `[out, ...]` one minus the highest cosine with another one; 1 if there is no other.
    fn of_filters(&self, weight: &Tensor) -> Result<Vec<f64>> {
        let rows = weight.in_f64()?.flatten_from(1)?;
        let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
        let rows = rows.broadcast_div(&lengths)?;
        let cosines = rows.matmul(&rows.t()?)?.to_vec2::<f64>()?;
        let likeness = |at: usize| {
            let others = cosines[at].iter().enumerate().filter(|(other, _)| *other != at);
            others.map(|(_, &cosine)| if self.signed { cosine } else { cosine.abs() }).fold(0.0, f64::max)
        };
        Ok((0..cosines.len()).map(|at| 1.0 - likeness(at)).collect())
    }
}

impl Criterion for Redundancy {
    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        // Several layers may make the same channel; it is redundant as far as it is so in each of them.
        group.sum_over_filters(network, |weight| self.of_filters(weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Criterion, "redundancy")
    }

    #[test]
    fn copies_score_nothing_and_a_filter_alone_scores_one() -> Result<()> {
        let weight = Tensor::new(
            &[[1.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, -2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            &Device::Cpu,
        )?;
        let unsigned = Redundancy { signed: false }.of_filters(&weight)?;
        assert_eq!(unsigned, [0.0, 0.0, 0.0, 0.0, 1.0]);
        let signed = Redundancy { signed: true }.of_filters(&weight)?;
        assert_eq!(signed, [0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(Redundancy { signed: false }.of_filters(&Tensor::new(&[[1.0, 2.0]], &Device::Cpu)?)?, [1.0]);
        Ok(())
    }
}
