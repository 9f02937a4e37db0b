//! Allocation `isomorphic`: only channels of groups that are built alike compete.
//!
//! Scores of a depthwise convolution's channels, of a residual stream's and of a linear layer's are made of different numbers
//! of different weights, and no normalisation makes them one scale. Groups with the same [`signature`] are ranked together, and
//! every such pool gives the same share of its channels.

use mrpf_api::network::LayerKind;
use mrpf_api::prelude::*;
use std::collections::BTreeMap;

use crate::normalise::Normaliser;
use crate::ranking::{Candidate, candidates, check_max_ratio, in_order, solve};

/// Settings of `isomorphic`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct IsomorphicSettings {
    /// What a group's scores are divided by before they are ranked with those of groups like it.
    pub normalise: Normaliser,
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
}

impl Default for IsomorphicSettings {
    fn default() -> Self {
        Self { normalise: Normaliser::Mean, max_ratio: 0.9 }
    }
}

register_plugin! {
    kind: Allocation,
    name: "isomorphic",
    summary: "ranks the channels of groups that are built alike together; every such pool gives the same share",
    source: "Fang et al. 2024, Isomorphic Pruning for Vision Models, arXiv 2407.04616",
    settings: IsomorphicSettings,
    make: |settings| Ok(Box::new(Isomorphic::new(settings)?)),
}

pub(crate) struct Isomorphic(IsomorphicSettings);

impl Isomorphic {
    pub(crate) fn new(settings: IsomorphicSettings) -> Result<Self> {
        check_max_ratio(settings.max_ratio)?;
        Ok(Self(settings))
    }
}

/// How a group is built: what kind of layer each of its tensors belongs to and how it takes part, in forward order.
///
/// Widths and kernels do not count, as in the original, whose signature lists the kinds and sides of the coupled layers.
///
/// # Errors
/// [`ErrorKind::UnknownName`] if the group is not one of the declaration's.
pub fn signature(declaration: &Declaration, group: &ChannelGroup) -> Result<String> {
    let mut signature = String::new();
    for member in &group.members {
        let kind = match &declaration.layer(&member.layer)?.kind {
            LayerKind::Conv2d(conv) if conv.is_depthwise() => "depthwise",
            LayerKind::Conv2d(conv) if conv.geometry.groups > 1 => "grouped",
            kind => kind.name(),
        };
        let tensor = member.tensor.rsplit('.').next().unwrap_or_default();
        signature += &format!("({kind} {tensor} {})", member.axis);
    }
    Ok(signature)
}

impl Allocation for Isomorphic {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let problem = request.problem;
        let signatures: Vec<String> =
            problem.groups().iter().map(|group| signature(problem.declaration(), group)).collect::<Result<_>>()?;
        let mut pools: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates(request, self.0.max_ratio, |scores| self.0.normalise.apply(scores)) {
            pools.entry(&signatures[candidate.1]).or_default().push(candidate);
        }
        solve(problem, &pools.into_values().map(in_order).collect::<Vec<_>>())
    }
}
