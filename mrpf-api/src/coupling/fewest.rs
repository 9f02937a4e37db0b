//! How narrow a group may become.

use super::groups::{ChannelGroup, Role};
use super::plan::typical_channels;
use crate::network::{Declaration, LayerKind};

/// For each group, the fewest channels that an allocation should leave it: all of a frozen one, and one of most others.
///
/// One channel is enough to compute with, and surgery accepts it. Two exceptions: a group joined by a concatenation needs one of every
/// producer; and a convolution in blocks must keep two channels on its input, because with one channel a depthwise
/// convolution is an ordinary one, and with one channel per block a grouped convolution is a depthwise one. The smaller network
/// would then have other groups than the network it was cut from, and plans of later rounds would not compose with earlier ones.
pub fn fewest_channels(declaration: &Declaration, groups: &[ChannelGroup]) -> Vec<usize> {
    let in_blocks = |layer: &str| {
        let found = declaration.layers.iter().find(|other| other.name == layer);
        found.and_then(|layer| match &layer.kind {
            LayerKind::Conv2d(conv) if conv.geometry.groups > 1 => Some(conv.is_depthwise()),
            _ => None,
        })
    };
    let fewest = |group: &ChannelGroup| {
        if group.frozen.is_some() {
            return group.channels;
        }
        let read_in_blocks = group.members.iter().any(|member| match in_blocks(&member.layer) {
            Some(true) => true,
            Some(false) => member.role == Role::Input,
            None => false,
        });
        let least = if read_in_blocks { 2 } else { 1 };
        typical_channels(group, least).len().min(group.channels)
    };
    groups.iter().map(fewest).collect()
}
