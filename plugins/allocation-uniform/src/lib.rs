//! Allocation `uniform`: the same ratio everywhere.

use mrpf_api::prelude::*;

/// Settings of `uniform`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct UniformSettings {
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
}

impl Default for UniformSettings {
    fn default() -> Self {
        Self { max_ratio: 0.9 }
    }
}

register_plugin! {
    kind: Allocation,
    name: "uniform",
    summary: "the same share of every group, as large as the budget asks",
    source: "the usual baseline; Li et al. 2017, arXiv 1608.08710",
    settings: UniformSettings,
    make: |settings| Ok(Box::new(Uniform::new(settings)?)),
}

struct Uniform {
    max_ratio: f64,
}

impl Uniform {
    fn new(settings: UniformSettings) -> Result<Self> {
        if !(settings.max_ratio > 0.0 && settings.max_ratio <= 1.0) {
            let message = format!("max_ratio {}, expected a share above 0 and at most 1", settings.max_ratio);
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Self { max_ratio: settings.max_ratio })
    }
}

impl Allocation for Uniform {
    fn needs_scores(&self) -> bool {
        false
    }

    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let groups = request.problem.groups().len();
        request.problem.solve(&|strength| vec![strength * self.max_ratio; groups])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};
    use mrpf_test_support::resnet20_problem;
    use proptest::prelude::*;

    fn problem(kind: BudgetKind, ratio: f64) -> Result<BudgetProblem> {
        let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
        for (name, width) in [("a", 24), ("b", 32), ("c", 40)] {
            net.conv(name, width, ConvGeometry::same3(), false);
        }
        net.global_avg_pool("pool").linear("out", 10);
        let declaration = net.finish()?;
        BudgetProblem::new(&declaration, &channel_groups(&declaration)?, kind, &cost(&declaration)?, ratio)
    }

    proptest! {
        #[test]
        fn the_budget_is_met_and_no_group_gives_more_than_its_neighbours(
            ratio in 0.0..0.95f64,
            kind in prop::sample::select(vec![BudgetKind::Macs, BudgetKind::Params, BudgetKind::Channels]),
        ) {
            let problem = problem(kind, ratio)?;
            let reachable = Uniform { max_ratio: 0.9 }
                .allocate(&AllocationRequest { problem: &problem, sensitivities: &[], scores: &[] });
            let Ok(solution) = reachable else { return Ok(()) };
            prop_assert!((solution.achieved - ratio).abs() <= 0.01, "{solution:?}");
            prop_assert!(solution.shortfall.is_none());
            let free = problem.groups().iter().zip(&solution.keep).filter(|(group, _)| group.frozen.is_none());
            // Whole channels: each group is within one and a half channels of the common share.
            let shares: Vec<f64> = free.clone().map(|(group, &keep)| keep as f64 / group.channels as f64).collect();
            let (low, high) = (shares.iter().copied().fold(1.0, f64::min), shares.iter().copied().fold(0.0, f64::max));
            prop_assert!(high - low <= 3.0 / 24.0, "{shares:?}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_said() -> Result<()> {
        let error = Uniform { max_ratio: 0.5 }
            .allocate(&AllocationRequest {
                problem: &problem(BudgetKind::Channels, 0.8)?,
                sensitivities: &[],
                scores: &[],
            })
            .expect_err("half of the channels at most");
        assert_eq!(error.to_string(), "the budget asks to remove 80.0 % of the channels, at most 50.0 % can go");
        Ok(())
    }

    #[test]
    fn every_tenth_of_a_resnet_is_met_to_one_percent() -> Result<()> {
        for tenth in 1..=9 {
            let ratio = f64::from(tenth) / 10.0;
            let problem = resnet20_problem(ratio)?;
            let solution = Uniform { max_ratio: 0.9 }.allocate(&AllocationRequest {
                problem: &problem,
                sensitivities: &[],
                scores: &[],
            })?;
            assert!((problem.achieved(&solution.keep)? - ratio).abs() <= 0.01, "{ratio}: {solution:?}");
        }
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for max_ratio in [0.0, -0.1, 1.1, f64::NAN] {
            let error = Uniform::new(UniformSettings { max_ratio }).err().map(|error| error.to_string());
            let message = format!("max_ratio {max_ratio}, expected a share above 0 and at most 1");
            assert_eq!(error, Some(message));
        }
    }
}
