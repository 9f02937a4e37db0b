//! Allocation `global`: all channels of all groups compete.

use mrpf_api::prelude::*;

use crate::normalise::Normaliser;
use crate::ranking::{candidates, check_max_ratio, in_order, solve};

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

pub(crate) struct Global(GlobalSettings);

impl Global {
    pub(crate) fn new(settings: GlobalSettings) -> Result<Self> {
        check_max_ratio(settings.max_ratio)?;
        Ok(Self(settings))
    }
}

impl Allocation for Global {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let ranked = candidates(request, self.0.max_ratio, |scores| self.0.normalise.apply(scores));
        solve(request.problem, &[in_order(ranked)])
    }
}
