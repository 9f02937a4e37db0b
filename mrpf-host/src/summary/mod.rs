//! What a network consists of: its layers with their shapes and costs, and its channel groups.

mod table;
#[cfg(test)]
mod tests;

use mrpf_api::Result;
use mrpf_api::coupling::{ChannelGroup, Cost, Member, Role, channel_groups, cost, layer_costs};
use mrpf_api::network::{Declaration, Layer, LayerKind};
use serde::Serialize;
use std::collections::BTreeMap;

pub use table::as_text;

/// A network without its weights, for one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The architecture that declared it.
    pub architecture: String,
    /// Shape of the images, `[channel, height, width]`.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Trainable parameters.
    pub params: u64,
    /// Multiply-accumulates of convolutions, linear layers and attentions.
    pub macs: u64,
    /// Output channels of convolutions and of linear layers other than the classifier.
    pub channels: u64,
    /// In forward order.
    pub layers: Vec<LayerSummary>,
    /// In the forward order of what makes them.
    pub groups: Vec<GroupSummary>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// What it computes: its kind, and what belongs to it, as it stands in a saved file.
    #[serde(flatten)]
    pub kind: LayerKind,
    /// The layers that it reads.
    pub inputs: Vec<String>,
    /// Shape of its output, `[channel, height, width]`, `[sequence, token, channel]` or `[feature]`.
    pub shape: Vec<usize>,
    /// Its parameters.
    pub params: u64,
    /// Its multiply-accumulates.
    pub macs: u64,
    /// The groups whose channels its output has, in their order.
    pub groups: Vec<String>,
}

/// One channel group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupSummary {
    /// Its name, that of the first layer that makes it.
    pub name: String,
    /// Its channels.
    pub channels: usize,
    /// Why it must stay whole, if it must.
    pub frozen: Option<String>,
    /// The layers whose filters make it.
    pub made_by: Vec<String>,
    /// The norms on its way.
    pub normed_by: Vec<String>,
    /// The layers whose weights read it, and the attentions whose queries and keys it is.
    pub read_by: Vec<String>,
}

impl Summary {
    /// Summarises a declaration.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Declaration`] if it contradicts itself.
    pub fn of(declaration: &Declaration) -> Result<Self> {
        let groups = channel_groups(declaration)?;
        let shapes = declaration.wiring()?.shapes;
        let costs: BTreeMap<String, Cost> =
            layer_costs(declaration)?.into_iter().map(|layer| (layer.layer, layer.cost)).collect();
        let carried = carried_groups(declaration, &groups);
        let layers = declaration.layers.iter().zip(shapes).map(|(layer, shape)| {
            let cost = costs.get(&layer.name).copied().unwrap_or_default();
            LayerSummary {
                name: layer.name.clone(),
                kind: layer.kind.clone(),
                inputs: layer.inputs.clone(),
                shape: shape.dims(),
                params: cost.params,
                macs: cost.macs,
                groups: carried[layer.name.as_str()].iter().map(|&group| group.to_owned()).collect(),
            }
        });
        let Cost { params, macs, channels, .. } = cost(declaration)?;
        Ok(Self {
            architecture: declaration.architecture.clone(),
            input: declaration.input.dims(),
            classes: declaration.classes,
            params,
            macs,
            channels,
            layers: layers.collect(),
            groups: groups.iter().map(GroupSummary::of).collect(),
        })
    }
}

impl GroupSummary {
    fn of(group: &ChannelGroup) -> Self {
        let layers = |wanted: fn(&Member) -> bool| {
            let mut layers: Vec<String> = Vec::new();
            for member in group.members.iter().filter(|member| wanted(member)) {
                if layers.last() != Some(&member.layer) {
                    layers.push(member.layer.clone());
                }
            }
            layers
        };
        Self {
            name: group.name.clone(),
            channels: group.channels,
            frozen: group.frozen.clone(),
            made_by: layers(|member| member.role == Role::Output),
            normed_by: layers(|member| member.role == Role::Norm),
            read_by: layers(reads),
        }
    }
}

/// Values go through an attention; queries and keys end there.
fn reads(member: &Member) -> bool {
    member.role == Role::Input || (member.role == Role::Attention && member.axis == 1)
}

/// For each layer the groups whose channels its output has: those that its filters make, or those of what it reads.
fn carried_groups<'a>(declaration: &'a Declaration, groups: &'a [ChannelGroup]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut made: BTreeMap<&str, &str> = BTreeMap::new();
    for group in groups {
        made.extend(group.producers().map(|member| (member.layer.as_str(), group.name.as_str())));
    }
    let mut carried: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Layer { name, kind, inputs } in &declaration.layers {
        // What an attention gives are its values, the last that it reads.
        let inputs = if matches!(kind, LayerKind::Attention(_)) { &inputs[2..] } else { &inputs[..] };
        let mut own: Vec<&str> = Vec::new();
        match made.get(name.as_str()) {
            Some(group) => own.push(group),
            None => {
                for group in inputs.iter().filter_map(|input| carried.get(input.as_str())).flatten() {
                    if !own.contains(group) {
                        own.push(group);
                    }
                }
            }
        }
        carried.insert(name, own);
    }
    carried
}
