//! Allocation `erk`: Erdős-Rényi-kernel densities, read as widths.
//!
//! ERK was made for single weights. A group of channels is on one side of some layers and on the other side of others, and a
//! layer whose two sides keep the share k has k² of its weights left: a group therefore keeps the root of the density of the layers
//! that produce it, which is taken over all their weights together.

use mrpf_api::prelude::*;

use crate::densities::{LayerShape, erk_densities};
use crate::max_ratio::check_max_ratio;

/// Settings of `erk`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ErkSettings {
    /// Exponent of the shape's term, above 0: small ones make the layers alike, 1 is the original.
    pub power: f64,
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
}

impl Default for ErkSettings {
    fn default() -> Self {
        Self { power: 1.0, max_ratio: 0.9 }
    }
}

register_plugin! {
    kind: Allocation,
    name: "erk",
    summary: "wide layers give more: Erdos-Renyi-kernel densities of the layers, scaled until the budget is met",
    source: "Evci et al. 2020, RigL, arXiv 1911.11134, section 3, with densities of weights read as widths of groups",
    settings: ErkSettings,
    make: |settings| Ok(Box::new(Erk::new(settings)?)),
}

pub(crate) struct Erk(ErkSettings);

impl Erk {
    pub(crate) fn new(settings: ErkSettings) -> Result<Self> {
        check_max_ratio(settings.max_ratio)?;
        match settings.power > 0.0 && settings.power.is_finite() {
            true => Ok(Self(settings)),
            false => {
                let message = format!("power {}, expected a number above 0", settings.power);
                Err(Error::new(ErrorKind::Settings, message))
            }
        }
    }
}

impl Allocation for Erk {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let declaration = request.problem.declaration();
        let layers: Vec<(String, LayerShape)> = declaration
            .modules()
            .filter_map(|layer| Some((format!("{}.weight", layer.name), LayerShape::of(layer)?)))
            .collect();
        let shapes: Vec<LayerShape> = layers.iter().map(|(_, shape)| shape.clone()).collect();
        let producers: Vec<Vec<usize>> = request
            .problem
            .groups()
            .iter()
            .map(|group| {
                let place = |tensor: &str| layers.iter().position(|(name, _)| name == tensor);
                group.producers().filter_map(|member| place(&member.tensor)).collect()
            })
            .collect();
        request.problem.solve(&|sparsity| {
            let densities = erk_densities(&shapes, sparsity, self.0.power);
            let ratio = |producers: &Vec<usize>| {
                let all: f64 = producers.iter().map(|&at| shapes[at].weights()).sum();
                let kept: f64 = producers.iter().map(|&at| densities[at] * shapes[at].weights()).sum();
                let density = if all > 0.0 { kept / all } else { 1.0 - sparsity };
                (1.0 - density.sqrt()).clamp(0.0, self.0.max_ratio)
            };
            producers.iter().map(ratio).collect()
        })
    }
}
