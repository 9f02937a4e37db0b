//! Allocation `sensitivity`: the more sensitive a group, the less of it goes.

use mrpf_api::prelude::*;

/// Settings of `sensitivity`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct SensitivitySettings {
    /// How sensitivities become numbers between 0 (least sensitive) and 1.
    pub map: Map,
    /// Sharpness, above 0: each group's share grows with (1 - number)^tau.
    pub tau: f64,
    /// Share of every group that goes in any case, in [0, max_ratio].
    pub min_ratio: f64,
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
    /// `exponential` only: the sensitivity at which the wish to prune has fallen to 37 %, above 0; the mean sensitivity when not given.
    pub temperature: Option<f64>,
}

/// From sensitivity to the wish to prune, u in [0, 1]; s runs over the groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Map {
    /// u = 1 - (s - min) / (max - min): the plainest reading, but one very sensitive group makes all others alike.
    Identity,
    /// The same with log(1 + s / mean) in place of s: sensitivities of one network span decades.
    #[default]
    Log1p,
    /// The same with the place in the order in place of s.
    Rank,
    /// u = exp(-s / temperature).
    Exponential,
    /// u = min / s, with s kept above a thousandth of the mean.
    Reciprocal,
}

impl Default for SensitivitySettings {
    fn default() -> Self {
        Self { map: Map::Log1p, tau: 1.0, min_ratio: 0.0, max_ratio: 0.9, temperature: None }
    }
}

register_plugin! {
    kind: Allocation,
    name: "sensitivity",
    summary: "a share of each group that falls with its sensitivity, scaled until the budget is met",
    source: "own reading of MRPF, Bai et al. 2025, arXiv 2410.15176, whose formula could not be had",
    settings: SensitivitySettings,
    make: |settings| Ok(Box::new(BySensitivity::new(settings)?)),
}

/// The least wish to prune. The most sensitive group has the wish 0 and would never give anything; with this floor it does so
/// at last, when all others have reached their largest share.
const FLOOR: f64 = 1e-3;

struct BySensitivity(SensitivitySettings);

impl BySensitivity {
    fn new(settings: SensitivitySettings) -> Result<Self> {
        let wrong = |what: &str, found: f64, expected: &str| {
            Err(Error::new(ErrorKind::Settings, format!("{what} {found}, expected {expected}")))
        };
        if !(settings.max_ratio > 0.0 && settings.max_ratio <= 1.0) {
            return wrong("max_ratio", settings.max_ratio, "a share above 0 and at most 1");
        }
        if !(0.0..=settings.max_ratio).contains(&settings.min_ratio) {
            return wrong("min_ratio", settings.min_ratio, "a share from 0 to max_ratio");
        }
        if !(settings.tau > 0.0 && settings.tau.is_finite()) {
            return wrong("tau", settings.tau, "a number above 0");
        }
        if let Some(temperature) = settings.temperature.filter(|&t| !(t > 0.0 && t.is_finite())) {
            return wrong("temperature", temperature, "a number above 0");
        }
        Ok(Self(settings))
    }

    /// The wish to prune each group, in [FLOOR, 1]; groups without a sensitivity have the mean wish of the others.
    fn wishes(&self, sensitivities: &[Option<f64>]) -> Vec<f64> {
        let known: Vec<f64> = sensitivities.iter().copied().flatten().collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let scaled = |s: f64| match self.0.map {
            Map::Log1p if mean > 0.0 => (s.max(0.0) / mean).ln_1p(),
            Map::Rank => known.iter().filter(|&&other| other < s).count() as f64,
            _ => s,
        };
        let mapped: Vec<f64> = known.iter().map(|&s| scaled(s)).collect();
        let (low, high) =
            (mapped.iter().copied().fold(f64::MAX, f64::min), mapped.iter().copied().fold(f64::MIN, f64::max));
        let wish = |s: f64| {
            let wish = match self.0.map {
                Map::Exponential => (-s / self.0.temperature.unwrap_or(mean).max(f64::MIN_POSITIVE)).exp(),
                Map::Reciprocal => low.max(mean * 1e-3) / s.max(mean * 1e-3).max(f64::MIN_POSITIVE),
                _ if high > low => 1.0 - (scaled(s) - low) / (high - low),
                _ => 1.0,
            };
            wish.clamp(0.0, 1.0).powf(self.0.tau).max(FLOOR)
        };
        let wishes: Vec<f64> = known.iter().map(|&s| wish(s)).collect();
        let usual = if wishes.is_empty() { 1.0 } else { wishes.iter().sum::<f64>() / wishes.len() as f64 };
        sensitivities.iter().map(|s| s.map_or(usual, wish)).collect()
    }
}

impl Allocation for BySensitivity {
    fn needs_scores(&self) -> bool {
        false
    }

    fn needs_sensitivity(&self) -> bool {
        true
    }

    /// Share of group i: clip(lambda * u_i^tau, min_ratio, max_ratio), with lambda such that the budget is met.
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let free: Vec<Option<f64>> = request
            .problem
            .groups()
            .iter()
            .zip(request.sensitivities)
            .map(|(group, sensitivity)| sensitivity.filter(|_| group.frozen.is_none()))
            .collect();
        let wishes = self.wishes(&free);
        let SensitivitySettings { min_ratio, max_ratio, .. } = self.0;
        request.problem.solve(&|strength| {
            // The strength runs over the logarithm of lambda, from where nothing is removed to where every group gives its most.
            let lambda = match strength {
                0.0 => 0.0,
                strength => max_ratio * (FLOOR.ln() * (1.0 - 2.0 * strength)).exp(),
            };
            wishes.iter().map(|wish| (lambda * wish).clamp(min_ratio, max_ratio)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};
    use mrpf_test_support::resnet20_problem;
    use proptest::prelude::*;

    const MAPS: [Map; 5] = [Map::Identity, Map::Log1p, Map::Rank, Map::Exponential, Map::Reciprocal];

    fn allocate(map: Map, sensitivities: [f64; 4], ratio: f64) -> Result<(Vec<f64>, Solution)> {
        let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
        for name in ["a", "b", "c", "d"] {
            net.conv(name, 64, ConvGeometry::same3(), false);
        }
        net.global_avg_pool("pool").linear("out", 10);
        let declaration = net.finish()?;
        let groups = channel_groups(&declaration)?;
        let problem = BudgetProblem::new(&declaration, &groups, BudgetKind::Macs, &cost(&declaration)?, ratio)?;
        let mut given: Vec<Option<f64>> = sensitivities.map(Some).to_vec();
        given.push(Some(100.0));
        let allocation = BySensitivity::new(SensitivitySettings { map, ..SensitivitySettings::default() })?;
        let solution =
            allocation.allocate(&AllocationRequest { problem: &problem, sensitivities: &given, scores: &[] })?;
        let ratios = solution.keep[..4].iter().map(|&keep| 1.0 - keep as f64 / 64.0).collect();
        Ok((ratios, solution))
    }

    proptest! {
        #[test]
        fn the_budget_is_met_and_more_sensitive_groups_give_less(
            map in prop::sample::select(MAPS.to_vec()),
            values in prop::array::uniform4(0.001..20.0f64),
            ratio in 0.05..0.9f64,
        ) {
            let (ratios, solution) = allocate(map, values, ratio)?;
            prop_assert!((solution.achieved - ratio).abs() <= 0.01, "{solution:?}");
            for i in 0..4 {
                for j in 0..4 {
                    // Whole channels: within one and a half of them the order may be reversed.
                    prop_assert!(values[i] <= values[j] || ratios[i] <= ratios[j] + 2.0 / 64.0, "{values:?} {ratios:?}");
                }
            }
        }
    }

    #[test]
    fn equal_sensitivities_make_equal_shares() -> Result<()> {
        for map in MAPS {
            let (ratios, _) = allocate(map, [2.0; 4], 0.5)?;
            let spread = ratios.iter().copied().fold(0.0, f64::max) - ratios.iter().copied().fold(1.0, f64::min);
            assert!(spread <= 2.0 / 64.0, "{map:?} {ratios:?}");
        }
        Ok(())
    }

    #[test]
    fn a_more_sensitive_group_gives_clearly_less() -> Result<()> {
        for map in MAPS {
            let (ratios, _) = allocate(map, [0.1, 1.0, 2.0, 8.0], 0.5)?;
            assert!(ratios.is_sorted_by(|early, late| early >= late), "{map:?} {ratios:?}");
            assert!(ratios[0] >= ratios[3] + 0.3, "{map:?} {ratios:?}");
        }
        Ok(())
    }

    #[test]
    fn the_most_sensitive_group_yields_last_but_yields() -> Result<()> {
        let (ratios, _) = allocate(Map::Identity, [1.0, 1.0, 1.0, 10.0], 0.6)?;
        assert_eq!(ratios[3], 0.0, "{ratios:?}");
        let (ratios, _) = allocate(Map::Identity, [1.0, 1.0, 1.0, 10.0], 0.97)?;
        assert!(ratios[3] > 0.0 && ratios[..3].iter().all(|ratio| (ratio - 0.9).abs() <= 1.0 / 64.0), "{ratios:?}");
        Ok(())
    }

    #[test]
    fn wishes_are_those_of_the_formulas() -> Result<()> {
        let wishes = |settings: SensitivitySettings| -> Result<Vec<f64>> {
            Ok(BySensitivity::new(settings)?.wishes(&[Some(1.0), Some(2.0), None, Some(5.0)]))
        };
        let log = |s: f64| (1.0 + s / (8.0 / 3.0)).ln();
        let middle = 1.0 - (log(2.0) - log(1.0)) / (log(5.0) - log(1.0));
        for (map, temperature, expected) in [
            (Map::Identity, None, [1.0, 0.75, FLOOR]),
            (Map::Log1p, None, [1.0, middle, FLOOR]),
            (Map::Rank, None, [1.0, 0.5, FLOOR]),
            (Map::Exponential, None, [-0.375, -0.75, -1.875].map(f64::exp)),
            (Map::Exponential, Some(2.0), [-0.5, -1.0, -2.5].map(f64::exp)),
            (Map::Reciprocal, None, [1.0, 0.5, 0.2]),
        ] {
            for tau in [1.0, 2.0] {
                let expected = expected.map(|wish| wish.powf(tau).max(FLOOR));
                let found = wishes(SensitivitySettings { map, tau, temperature, ..SensitivitySettings::default() })?;
                // A group without a sensitivity takes the mean of those that have one.
                let all = [expected[0], expected[1], expected.iter().sum::<f64>() / 3.0, expected[2]];
                for (found, expected) in found.iter().zip(all) {
                    assert!((found - expected).abs() < 1e-12, "{map:?} tau {tau}: {found}, expected {expected}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn every_group_gives_the_smallest_share_in_any_case() -> Result<()> {
        let settings = SensitivitySettings { min_ratio: 0.25, ..SensitivitySettings::default() };
        let problem = resnet20_problem(0.6)?;
        let sensitivities: Vec<Option<f64>> = (0..problem.groups().len()).map(|at| Some((at * at) as f64)).collect();
        let request = AllocationRequest { problem: &problem, sensitivities: &sensitivities, scores: &[] };
        let solution = BySensitivity::new(settings)?.allocate(&request)?;
        for (group, &keep) in problem.groups().iter().zip(&solution.keep).filter(|(group, _)| group.frozen.is_none()) {
            assert!(keep * 4 <= group.channels * 3, "`{}` keeps {keep} of {}", group.name, group.channels);
        }
        Ok(())
    }

    #[test]
    fn every_tenth_of_a_resnet_is_met_to_one_percent() -> Result<()> {
        for map in MAPS {
            for tenth in 1..=9 {
                let ratio = f64::from(tenth) / 10.0;
                let problem = resnet20_problem(ratio)?;
                let value = |at: usize| 0.1 + (at * 7 % 12) as f64;
                let sensitivities: Vec<Option<f64>> = (0..problem.groups().len()).map(|at| Some(value(at))).collect();
                let request = AllocationRequest { problem: &problem, sensitivities: &sensitivities, scores: &[] };
                let settings = SensitivitySettings { map, ..SensitivitySettings::default() };
                let solution = BySensitivity::new(settings)?.allocate(&request)?;
                assert!((problem.achieved(&solution.keep)? - ratio).abs() <= 0.01, "{map:?} {ratio}: {solution:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let usual = SensitivitySettings::default;
        for (wrong, message) in [
            (SensitivitySettings { tau: 0.0, ..usual() }, "tau 0, expected a number above 0"),
            (SensitivitySettings { tau: f64::INFINITY, ..usual() }, "tau inf, expected a number above 0"),
            (SensitivitySettings { max_ratio: 0.0, ..usual() }, "max_ratio 0, expected a share above 0 and at most 1"),
            (
                SensitivitySettings { max_ratio: 1.5, ..usual() },
                "max_ratio 1.5, expected a share above 0 and at most 1",
            ),
            (
                SensitivitySettings { min_ratio: 0.95, ..usual() },
                "min_ratio 0.95, expected a share from 0 to max_ratio",
            ),
            (SensitivitySettings { temperature: Some(0.0), ..usual() }, "temperature 0, expected a number above 0"),
        ] {
            assert_eq!(BySensitivity::new(wrong).err().map(|error| error.to_string()), Some(message.into()));
        }
    }
}
