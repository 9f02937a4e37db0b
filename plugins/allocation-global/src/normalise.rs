//! What makes scores of different groups comparable.

use mrpf_api::prelude::*;

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

impl Normaliser {
    /// The scores of one group, divided.
    pub(crate) fn apply(self, scores: &[f64]) -> Vec<f64> {
        let scale = match self {
            Self::Mean => scores.iter().sum::<f64>() / scores.len().max(1) as f64,
            Self::Max => scores.iter().copied().fold(0.0, f64::max),
            Self::None => 1.0,
        };
        let scale = if scale > 0.0 { scale } else { 1.0 };
        scores.iter().map(|score| score / scale).collect()
    }
}
