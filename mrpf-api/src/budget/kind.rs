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
        }
    }

    /// The counted figure.
    pub fn of(self, cost: &Cost) -> u64 {
        match self {
            Self::Macs => cost.macs,
            Self::Params => cost.params,
            Self::Channels => cost.channels,
            Self::Bytes => cost.bytes,
        }
    }
}
