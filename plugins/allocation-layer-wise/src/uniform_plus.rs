//! Allocation `uniform-plus`: uniform, but for the two ends of the network.
//!
//! The original keeps the first convolution dense and a fifth of the last linear layer's weights. Here the channels that the
//! first module produces all stay, and what the last module reads keeps the given share; the other groups make up for it.

use mrpf_api::prelude::*;

use crate::max_ratio::check_max_ratio;

/// Settings of `uniform-plus`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct UniformPlusSettings {
    /// Share that is kept at least of the channels that the last module reads, in [0, 1].
    pub last_density: f64,
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
}

impl Default for UniformPlusSettings {
    fn default() -> Self {
        Self { last_density: 0.2, max_ratio: 0.9 }
    }
}

register_plugin! {
    kind: Allocation,
    name: "uniform-plus",
    summary: "the same share of every group but the first, which stays, and the last, which keeps a fifth",
    source: "Gale et al. 2019, arXiv 1902.09574, section 4; as in Lee et al. 2021 (LAMP), arXiv 2010.07611, with channels for weights",
    settings: UniformPlusSettings,
    make: |settings| Ok(Box::new(UniformPlus::new(settings)?)),
}

pub(crate) struct UniformPlus(UniformPlusSettings);

impl UniformPlus {
    pub(crate) fn new(settings: UniformPlusSettings) -> Result<Self> {
        check_max_ratio(settings.max_ratio)?;
        match (0.0..=1.0).contains(&settings.last_density) {
            true => Ok(Self(settings)),
            false => {
                let message = format!("last_density {}, expected a share from 0 to 1", settings.last_density);
                Err(Error::new(ErrorKind::Settings, message))
            }
        }
    }

    /// The most that the group may give.
    fn most(&self, group: &ChannelGroup, first: &str, last: &str) -> f64 {
        let max_ratio = self.0.max_ratio;
        if group.producers().any(|member| member.layer == first) {
            0.0
        } else if group.consumers().any(|member| member.layer == last) {
            max_ratio.min(1.0 - self.0.last_density)
        } else {
            max_ratio
        }
    }
}

impl Allocation for UniformPlus {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let modules: Vec<&str> = request.problem.declaration().modules().map(|layer| layer.name.as_str()).collect();
        let [first, last] = [modules.first(), modules.last()].map(|name| name.copied().unwrap_or_default());
        let most: Vec<f64> = request.problem.groups().iter().map(|group| self.most(group, first, last)).collect();
        request.problem.solve(&|strength| most.iter().map(|most| most.min(strength * self.0.max_ratio)).collect())
    }
}
