//! A channel group and its members.

use serde::{Deserialize, Serialize};

use super::positions::Positions;
use crate::network::{Layer, LayerKind};

/// How a tensor takes part in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Filters or rows that produce the channels (weight axis 0, and the bias).
    Output,
    /// Scale, shift and running statistics of a norm that passes the channels on.
    Norm,
    /// Channels of an attention, which has no tensors: those of its values on axis 0, those of its queries and keys on axis 1.
    Attention,
    /// Weights that consume the channels (weight axis 1).
    Input,
}

/// One axis of one tensor that shrinks with the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The layer that owns the tensor.
    pub layer: String,
    /// The tensor's name: a parameter or a running statistic; the layer's own name for an attention, which has none.
    pub tensor: String,
    /// How it takes part.
    pub role: Role,
    /// The axis that shrinks.
    pub axis: usize,
    /// For each channel of the group, the positions on that axis that go with it.
    pub positions: Positions,
}

impl Member {
    /// Whether it counts the layer's own outputs (axis 0) or inputs (axis 1).
    pub(super) fn is_width(&self) -> bool {
        self.role == Role::Attention || self.tensor.ends_with(".weight")
    }

    /// The name under which the widths of a layer are found among its members.
    pub(super) fn width_of(layer: &Layer) -> String {
        match layer.kind {
            LayerKind::Attention(_) => layer.name.clone(),
            _ => format!("{}.weight", layer.name),
        }
    }
}

/// Channels that can only be removed together from all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelGroup {
    /// Name of the first layer that produces the channels.
    pub name: String,
    /// Number of channels.
    pub channels: usize,
    /// The tensors that shrink, in forward order.
    pub members: Vec<Member>,
    /// Why the group must stay as it is, if it must: its channels are the classes, or touch a layer whose coupling is not known.
    pub frozen: Option<String>,
}

impl ChannelGroup {
    /// The layers whose weights produce the channels, in forward order: convolutions and linear layers.
    pub fn producers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Output && member.tensor.ends_with(".weight"))
    }

    /// The layers whose weights consume the channels, in forward order.
    pub fn consumers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Input)
    }
}
