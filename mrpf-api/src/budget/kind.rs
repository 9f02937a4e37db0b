//! What a budget counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coupling::Cost;

/// What a budget counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetKind {
    /// Multiply-accumulates of one image.
    #[default]
    Macs,
    /// Trainable parameters.
    Params,
    /// Output channels.
    Channels,
    /// Bytes of the tensors in the saved network, running statistics among them.
    Bytes,
    /// Time of a pass, by a table of layer times.
    Latency,
}

impl BudgetKind {
    /// Those that are counted from a declaration alone.
    pub const COUNTED: [Self; 4] = [Self::Macs, Self::Params, Self::Channels, Self::Bytes];

    /// The name in settings and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::Params => "params",
            Self::Channels => "channels",
            Self::Bytes => "bytes",
            Self::Latency => "latency",
        }
    }

    /// The counted figure; none for latency, which a table tells.
    pub fn of(self, cost: &Cost) -> Option<u64> {
        match self {
            Self::Macs => Some(cost.macs),
            Self::Params => Some(cost.params),
            Self::Channels => Some(cost.channels),
            Self::Bytes => Some(cost.bytes),
            Self::Latency => None,
        }
    }
}
