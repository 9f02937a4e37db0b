//! Allocation `fixed`: ratios that somebody chose, by the names of layers.

use mrpf_api::prelude::*;
use std::collections::BTreeMap;

use crate::max_ratio::check_max_ratio;
use crate::pattern::{fits, most_precise};

/// Settings of `fixed`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FixedSettings {
    /// What is done with the ratios.
    pub reading: Reading,
    /// Largest share that may go of a group without a ratio of its own, or by scaling, in (0, 1].
    pub max_ratio: f64,
    /// Share to remove, in [0, 1], by the name of a layer with weights, such as `{ "layer1.*" = 0.3, "layer1.0.conv1" = 0.5 }`. `*` stands
    /// for any characters; of several patterns that fit, the one that spells most out counts. Layers that shrink together
    /// take the smallest of their ratios. They are shares of what is there when the step begins: with several rounds, once in each.
    pub ratios: Option<BTreeMap<String, f64>>,
}

/// What is done with the ratios.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Reading {
    /// They are taken as they are; groups without one share what the budget still asks for. A budget that asks for less than the
    /// ratios is missed, which is said; one that asks for more than the other groups can give is refused.
    #[default]
    Exact,
    /// They are multiplied by a common factor that meets the budget; groups without one stay whole.
    Proportions,
}

impl Default for FixedSettings {
    fn default() -> Self {
        Self { reading: Reading::Exact, max_ratio: 0.9, ratios: None }
    }
}

register_plugin! {
    kind: Allocation,
    name: "fixed",
    summary: "the ratios that you give by names of layers; the other groups share the rest of the budget",
    source: "the usual way of the first papers; Li et al. 2017, arXiv 1608.08710, section 4",
    settings: FixedSettings,
    make: |settings| Ok(Box::new(Fixed::new(settings)?)),
}

pub(crate) struct Fixed {
    reading: Reading,
    max_ratio: f64,
    ratios: BTreeMap<String, f64>,
}

impl Fixed {
    pub(crate) fn new(settings: FixedSettings) -> Result<Self> {
        let FixedSettings { reading, max_ratio, ratios } = settings;
        check_max_ratio(max_ratio)?;
        let ratios = ratios.unwrap_or_default();
        if let Some((pattern, ratio)) = ratios.iter().find(|(_, ratio)| !(0.0..=1.0).contains(*ratio)) {
            let message = format!("ratio {ratio} for `{pattern}`, expected a share from 0 to 1");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Self { reading, max_ratio, ratios })
    }

    /// The ratio of each group that has one.
    fn of_groups(&self, problem: &BudgetProblem) -> Result<Vec<Option<f64>>> {
        self.check_patterns(problem)?;
        let of_layer = |layer: &str| {
            let pattern = most_precise(self.ratios.keys().map(String::as_str), layer)?;
            self.ratios.get(pattern).copied()
        };
        let of_group =
            |group: &ChannelGroup| group.producers().filter_map(|member| of_layer(&member.layer)).reduce(f64::min);
        Ok(problem.groups().iter().map(of_group).collect())
    }

    /// A pattern that changes nothing is a mistake.
    fn check_patterns(&self, problem: &BudgetProblem) -> Result<()> {
        for (pattern, &ratio) in &self.ratios {
            let modules = || problem.declaration().modules().map(|layer| layer.name.as_str());
            if !modules().any(|name| fits(pattern, name)) {
                return Err(Error::unknown_name("layer with weights", pattern, modules()));
            }
            let mut fitting =
                problem.groups().iter().filter(|group| group.producers().any(|member| fits(pattern, &member.layer)));
            let reason = match fitting.clone().all(|group| group.frozen.is_some()) {
                true => fitting.find_map(|group| group.frozen.as_ref()),
                false => None,
            };
            if let Some(reason) = reason.filter(|_| ratio > 0.0) {
                let message = format!("a ratio of {ratio} for `{pattern}`, which cannot be pruned: {reason}");
                return Err(Error::new(ErrorKind::Settings, message));
            }
        }
        Ok(())
    }
}

impl Allocation for Fixed {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let given = self.of_groups(request.problem)?;
        let max_ratio = self.max_ratio;
        // The factor by which even the smallest ratio reaches the largest share.
        let smallest = given.iter().copied().flatten().filter(|&ratio| ratio > 0.0).fold(1.0, f64::min);
        let most = max_ratio / smallest;
        request.problem.solve(&|strength| {
            let ratio = |given: &Option<f64>| match (self.reading, given) {
                (Reading::Exact, Some(ratio)) => *ratio,
                (Reading::Exact, None) => strength * max_ratio,
                (Reading::Proportions, Some(ratio)) => (strength * most * ratio).min(max_ratio),
                (Reading::Proportions, None) => 0.0,
            };
            given.iter().map(ratio).collect()
        })
    }
}
