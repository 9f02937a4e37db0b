//! When a weight that has left its ball is put back.

use mrpf_api::prelude::*;

/// When the weight is put back into the ball.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Projection {
    /// After every gradient step.
    PerStep,
    /// After every pass over the images.
    PerEpoch,
}
