//! Surgery: the smaller network that a plan describes, and its masked twin.

use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};

use super::analyse::channel_groups;
use super::groups::{ChannelGroup, Member, Role};
use super::plan::PruningPlan;
use crate::network::{Declaration, LayerKind, Network, Weights};
use crate::{Error, ErrorKind, Result};

/// The declaration with the plan's channels only.
///
/// # Errors
/// As [`PruningPlan::check`].
pub fn cut_declaration(declaration: &Declaration, plan: &PruningPlan) -> Result<Declaration> {
    let groups = channel_groups(declaration)?;
    plan.check(&groups)?;
    let removed = removed_positions(&groups, plan);
    let mut cut = declaration.clone();
    for layer in &mut cut.layers {
        let width = Member::width_of(layer);
        let [outputs, inputs] = [0, 1].map(|axis| removed.get(&(width.clone(), axis)).map_or(0, BTreeSet::len));
        shrink_layer(&mut layer.kind, outputs, inputs);
    }
    cut.wiring()?;
    Ok(cut)
}

/// Takes positions from a layer's outputs (axis 0 of its weight) and inputs (axis 1, local to a block of a grouped convolution).
///
/// The outputs of an attention are those of its values, and its inputs stand for queries and keys alike.
pub(super) fn shrink_layer(kind: &mut LayerKind, outputs: usize, inputs: usize) {
    match kind {
        LayerKind::Conv2d(conv) if conv.is_depthwise() => {
            // A depthwise convolution loses whole input channels with all of their filters.
            let multiplier = conv.out_channels / conv.in_channels;
            conv.out_channels -= outputs;
            conv.in_channels = conv.out_channels / multiplier;
            conv.geometry.groups = conv.in_channels;
        }
        LayerKind::Conv2d(conv) => {
            conv.out_channels -= outputs;
            conv.in_channels -= inputs * conv.geometry.groups;
        }
        LayerKind::BatchNorm(norm) => norm.channels -= outputs,
        LayerKind::Linear(linear) => {
            linear.out_features -= outputs;
            linear.in_features -= inputs;
        }
        LayerKind::LayerNorm(norm) => norm.channels -= outputs,
        LayerKind::Attention(attention) => attention.narrow(outputs, inputs),
        _ => {}
    }
}

/// The network with the plan's channels only: smaller tensors, the kept weights and statistics unchanged.
///
/// # Errors
/// As [`PruningPlan::check`].
pub fn cut(network: &Network, plan: &PruningPlan) -> Result<Network> {
    let groups = channel_groups(network.declaration())?;
    let declaration = cut_declaration(network.declaration(), plan)?;
    let removed = removed_positions(&groups, plan);
    let keep = |tensors: Weights| -> Result<Weights> {
        tensors.into_iter().map(|(name, tensor)| Ok((name.clone(), keep_positions(&name, tensor, &removed)?))).collect()
    };
    Network::from_tensors(declaration, keep(network.frozen_weights())?, keep(network.statistics())?)
}

/// The network at its full size with everything that produces removed channels set to zero, so that they are exactly zero
/// wherever they are read: it gives the outputs of the cut network, in training and in evaluation mode.
///
/// # Errors
/// As [`PruningPlan::check`].
pub fn mask(network: &Network, plan: &PruningPlan) -> Result<Network> {
    let groups = channel_groups(network.declaration())?;
    plan.check(&groups)?;
    let producing: Vec<ChannelGroup> = groups
        .into_iter()
        .map(|mut group| {
            // Running statistics stay: a variance of zero would be none, and a zero scale hides them anyway.
            group.members.retain(|member| member.role != Role::Input && !member.tensor.contains(".running_"));
            group
        })
        .collect();
    let removed = removed_positions(&producing, plan);
    let mut masked = Weights::new();
    for (name, tensor) in network.snapshot()? {
        let tensor = match removed.get(&(name.clone(), 0)) {
            None => tensor,
            Some(positions) => zero_positions(&tensor, positions)?,
        };
        masked.insert(name, tensor);
    }
    Network::from_tensors(network.declaration().clone(), masked, network.statistics())
}

/// For each tensor and axis, the positions that go.
fn removed_positions(groups: &[ChannelGroup], plan: &PruningPlan) -> BTreeMap<(String, usize), BTreeSet<usize>> {
    let mut removed: BTreeMap<(String, usize), BTreeSet<usize>> = BTreeMap::new();
    for group in groups {
        let Some(keep) = plan.keep.get(&group.name) else { continue };
        let gone: Vec<usize> = (0..group.channels).filter(|channel| keep.binary_search(channel).is_err()).collect();
        if gone.is_empty() {
            continue;
        }
        for member in &group.members {
            let places = removed.entry((member.tensor.clone(), member.axis)).or_default();
            gone.iter().for_each(|&channel| places.extend(&member.positions[channel]));
        }
    }
    removed
}

fn keep_positions(name: &str, tensor: Tensor, removed: &BTreeMap<(String, usize), BTreeSet<usize>>) -> Result<Tensor> {
    let mut kept = tensor;
    for axis in 0..kept.rank() {
        let Some(gone) = removed.get(&(name.to_owned(), axis)).filter(|gone| !gone.is_empty()) else { continue };
        let at: Vec<u32> =
            (0..kept.dim(axis)?).filter(|place| !gone.contains(place)).map(|place| place as u32).collect();
        if at.is_empty() {
            return Err(Error::new(ErrorKind::Budget, format!("nothing would be left of `{name}` on axis {axis}")));
        }
        let at = Tensor::from_vec(at.clone(), at.len(), kept.device())?;
        kept = kept.contiguous()?.index_select(&at, axis)?;
    }
    Ok(kept)
}

fn zero_positions(tensor: &Tensor, positions: &BTreeSet<usize>) -> Result<Tensor> {
    let kept: Vec<u8> = (0..tensor.dim(0)?).map(|place| u8::from(!positions.contains(&place))).collect();
    let mut shape = vec![1; tensor.rank()];
    shape[0] = kept.len();
    let kept = Tensor::from_vec(kept, shape, tensor.device())?.broadcast_as(tensor.shape())?;
    // Chosen, not multiplied: a weight that is not finite must go as well.
    Ok(kept.where_cond(tensor, &tensor.zeros_like()?)?)
}
