//! Layers on tokens: layer normalisation and attention.

use serde::{Deserialize, Serialize};

/// A layer normalisation without its weights.
///
/// Its mean and variance are taken over all channels of a token, so that a channel of zeros counts and a missing one does not: the
/// channels that it reads cannot be pruned, and their group says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerNorm {
    /// Channels of each token.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// PyTorch's default: epsilon 1e-5.
    pub fn new(channels: usize) -> Self {
        Self { channels, epsilon: 1e-5 }
    }
}

/// Scaled dot-product attention with several heads, without the projections around it, which are linear layers (Vaswani et al. 2017,
/// section 3.2.2).
///
/// The channels of its three inputs are those of the first head, then those of the second, and so on; all heads are equally wide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Channels of the queries, and of the keys.
    pub query_channels: usize,
    /// Channels of the values, and of the output.
    pub value_channels: usize,
    /// Number of heads.
    pub heads: usize,
    /// Multiplies the products of queries and keys: `1 / sqrt(width of a head)` of the network as it was trained first. A cut network
    /// keeps it, for it gives the outputs of the masked one.
    pub scale: f64,
    /// What is removed at once.
    pub unit: AttentionUnit,
}

/// What is removed from an attention at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionUnit {
    /// The channel at one place in every head. Queries and keys are one group, values another; the number of heads stays.
    Width,
    /// A head with all of its queries, keys and values, which are one group; the widths stay.
    Head,
}

impl Attention {
    /// Attention of `heads` heads that are equally wide in queries, keys and values, with the usual scale.
    pub fn new(channels: usize, heads: usize, unit: AttentionUnit) -> Self {
        let scale = (heads as f64 / channels as f64).sqrt();
        Self { query_channels: channels, value_channels: channels, heads, scale, unit }
    }

    /// For each channel of a head-by-head row of `channels`, the channel that stands for what is removed with it.
    pub(crate) fn unit_of(&self, channels: usize, channel: usize) -> usize {
        let width = channels / self.heads;
        match self.unit {
            AttentionUnit::Width => channel % width,
            AttentionUnit::Head => channel / width * width,
        }
    }

    /// Takes channels from the values and from the queries and keys.
    pub(crate) fn narrow(&mut self, values: usize, queries: usize) {
        let width = self.value_channels / self.heads;
        self.value_channels -= values;
        self.query_channels -= queries;
        if self.unit == AttentionUnit::Head {
            self.heads = self.value_channels / width;
        }
    }
}
