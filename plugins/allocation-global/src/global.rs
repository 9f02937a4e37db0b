//! Allocation `global`: all channels of all groups compete.

use mrpf_api::prelude::*;

/// Settings of `global`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct GlobalSettings {
    /// What a group's scores are divided by, so that groups with large weights do not win by their size.
    pub normalise: Normaliser,
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
}

/// What a group's scores are divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Normaliser {
    /// Their mean.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// Nothing.
    None,
}

impl Default for GlobalSettings {
    fn default() -> Self {
        Self { normalise: Normaliser::Mean, max_ratio: 0.9 }
    }
}

register_plugin! {
    kind: Allocation,
    name: "global",
    summary: "ranks the channels of all groups together and removes the lowest until the budget is met",
    source: "Liu et al. 2017, Network Slimming, arXiv 1708.06519; normalised as in Torch-Pruning (Fang et al. 2023, arXiv 2301.12900)",
    settings: GlobalSettings,
    make: |settings| Ok(Box::new(Global::new(settings)?)),
}

struct Global(GlobalSettings);

impl Global {
    fn new(settings: GlobalSettings) -> Result<Self> {
        if !(settings.max_ratio > 0.0 && settings.max_ratio <= 1.0) {
            let message = format!("max_ratio {}, expected a share above 0 and at most 1", settings.max_ratio);
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Self(settings))
    }

    /// The groups of the channels that may go, the lowest score first; equal scores in the order of groups and channels.
    fn order(&self, request: &AllocationRequest<'_>) -> Vec<usize> {
        let mut ranked: Vec<(f64, usize)> = Vec::new();
        for (at, (group, scores)) in request.problem.groups().iter().zip(request.scores).enumerate() {
            if group.frozen.is_some() || scores.is_empty() {
                continue;
            }
            let scale = match self.0.normalise {
                Normaliser::Mean => scores.iter().sum::<f64>() / scores.len() as f64,
                Normaliser::Max => scores.iter().copied().fold(0.0, f64::max),
                Normaliser::None => 1.0,
            };
            let scale = if scale > 0.0 { scale } else { 1.0 };
            let mut sorted = scores.clone();
            sorted.sort_by(f64::total_cmp);
            let most = (group.channels as f64 * self.0.max_ratio).floor() as usize;
            ranked.extend(sorted.into_iter().take(most).map(|score| (score / scale, at)));
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        ranked.into_iter().map(|(_, group)| group).collect()
    }
}

impl Allocation for Global {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let (groups, order) = (request.problem.groups(), self.order(request));
        request.problem.solve(&|strength| {
            let mut gone = vec![0usize; groups.len()];
            let count = (order.len() as f64 * strength).round() as usize;
            order[..count].iter().for_each(|&group| gone[group] += 1);
            gone.iter().zip(groups).map(|(&gone, group)| gone as f64 / group.channels.max(1) as f64).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};
    use mrpf_test_support::resnet20_problem;

    #[test]
    fn the_lowest_scores_go_wherever_they_are() -> Result<()> {
        let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
        net.conv("a", 20, ConvGeometry::same3(), false).conv("b", 20, ConvGeometry::same3(), false);
        net.global_avg_pool("pool").linear("out", 10);
        let declaration = net.finish()?;
        let groups = channel_groups(&declaration)?;
        let problem = BudgetProblem::new(&declaration, &groups, BudgetKind::Channels, &cost(&declaration)?, 0.25)?;
        let low_in_b: Vec<f64> = (0..20).map(|i| if i < 10 { 0.1 } else { 1.0 }).collect();
        let scores = [vec![1.0; 20], low_in_b, Vec::new()];
        let request = AllocationRequest { problem: &problem, sensitivities: &[], scores: &scores };
        for normalise in [Normaliser::Mean, Normaliser::Max, Normaliser::None] {
            let solution = Global::new(GlobalSettings { normalise, max_ratio: 0.9 })?.allocate(&request)?;
            assert_eq!(solution.keep, [20, 10, 10], "{normalise:?}");
        }
        Ok(())
    }

    /// Two groups of 20 channels, of which the budget takes ten away.
    fn keep(normalise: Normaliser, max_ratio: f64, a: Vec<f64>, b: Vec<f64>) -> Result<Vec<usize>> {
        let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
        net.conv("a", 20, ConvGeometry::same3(), false).conv("b", 20, ConvGeometry::same3(), false);
        net.global_avg_pool("pool").linear("out", 10);
        let declaration = net.finish()?;
        let groups = channel_groups(&declaration)?;
        let problem = BudgetProblem::new(&declaration, &groups, BudgetKind::Channels, &cost(&declaration)?, 0.25)?;
        let request = AllocationRequest { problem: &problem, sensitivities: &[], scores: &[a, b, Vec::new()] };
        Ok(Global::new(GlobalSettings { normalise, max_ratio })?.allocate(&request)?.keep[..2].to_vec())
    }

    #[test]
    fn scores_are_compared_after_the_normalisation() -> Result<()> {
        // Group a is a hundred times as large as b and spread alike.
        let spread = |scale: f64| (0..20).map(|i| scale * f64::from(i + 1)).collect::<Vec<f64>>();
        assert_eq!(keep(Normaliser::None, 0.9, spread(100.0), spread(1.0))?, [20, 10]);
        assert_eq!(keep(Normaliser::Mean, 0.9, spread(100.0), spread(1.0))?, [15, 15]);
        assert_eq!(keep(Normaliser::Max, 0.9, spread(100.0), spread(1.0))?, [15, 15]);
        // One outlier lifts the maximum of b far more than its mean.
        let mut outlier = vec![1.0; 20];
        outlier[19] = 1000.0;
        assert_eq!(keep(Normaliser::Max, 0.9, vec![1.0; 20], outlier)?, [20, 10]);
        Ok(())
    }

    #[test]
    fn a_group_gives_its_largest_share_at_most() -> Result<()> {
        let low = vec![0.1; 20];
        assert_eq!(keep(Normaliser::None, 0.4, vec![1.0; 20], low.clone())?, [18, 12]);
        assert_eq!(keep(Normaliser::None, 0.25, vec![1.0; 20], low)?, [15, 15]);
        Ok(())
    }

    #[test]
    fn equal_scores_do_not_remove_more_than_was_asked() -> Result<()> {
        let kept = keep(Normaliser::Mean, 0.9, vec![1.0; 20], vec![1.0; 20])?;
        assert_eq!(kept.iter().sum::<usize>(), 30);
        Ok(())
    }

    #[test]
    fn every_tenth_of_a_resnet_is_met_to_one_percent() -> Result<()> {
        for tenth in 1..=9 {
            let ratio = f64::from(tenth) / 10.0;
            let problem = resnet20_problem(ratio)?;
            let score = |group: usize, channel: usize| ((group * 31 + channel * 17) % 97) as f64 + 1.0;
            let scores: Vec<Vec<f64>> = problem
                .groups()
                .iter()
                .enumerate()
                .map(|(at, group)| (0..group.channels).map(|channel| score(at, channel)).collect())
                .collect();
            let request = AllocationRequest { problem: &problem, sensitivities: &[], scores: &scores };
            let solution = Global::new(GlobalSettings::default())?.allocate(&request)?;
            assert!((problem.achieved(&solution.keep)? - ratio).abs() <= 0.01, "{ratio}: {solution:?}");
        }
        Ok(())
    }
}
