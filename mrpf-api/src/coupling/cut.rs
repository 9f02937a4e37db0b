//! Surgery: the smaller network that a plan describes, and its masked twin.

use candle_core::{DType, Tensor, Var};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::analyse::channel_groups;
use super::groups::{ChannelGroup, Member, Role};
use super::plan::PruningPlan;
use super::positions::Positions;
use crate::network::{Declaration, LayerKind, Network, Weights};
use crate::numeric::kernel;
use crate::{Error, ErrorKind, Result};

/// The declaration with the plan's channels only.
///
/// # Errors
/// As [`PruningPlan::check`].
pub fn cut_declaration(declaration: &Declaration, plan: &PruningPlan) -> Result<Declaration> {
    let groups = channel_groups(declaration)?;
    plan.check(&groups)?;
    let cut = shrunk(declaration, &removed_positions(&groups, plan));
    cut.wiring()?;
    Ok(cut)
}

/// The smaller declaration, which is not checked here.
fn shrunk(declaration: &Declaration, removed: &Removed<'_>) -> Declaration {
    let mut cut = declaration.clone();
    for layer in &mut cut.layers {
        let width = Member::width_of(layer);
        let [outputs, inputs] = [0, 1].map(|axis| removed.get(&(width.as_str(), axis)).map_or(0, Gone::count));
        shrink_layer(&mut layer.kind, outputs, inputs);
    }
    cut
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
    plan.check(&groups)?;
    let removed = removed_positions(&groups, plan);
    // One tensor a piece: a few large ones of many are most of the work.
    let parameters: Vec<_> = network.parameters().iter().collect();
    let parameters = parameters.into_par_iter().with_max_len(1).map(|(name, parameter)| {
        let kept = keep_positions(name, &parameter.as_detached_tensor(), &removed, true)?;
        // What was kept whole is copied here, as the two networks must not share it.
        Ok((name.clone(), Var::from_tensor(&kept)?))
    });
    let parameters = parameters.collect::<Result<_>>()?;
    let statistics = network.statistics().into_iter().map(|(name, statistic)| {
        let kept = keep_positions(&name, &statistic, &removed, false)?;
        Ok((name, kept))
    });
    let statistics = statistics.collect::<Result<_>>()?;
    Network::from_variables(shrunk(network.declaration(), &removed), parameters, statistics)
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
        let tensor = match removed.get(&(name.as_str(), 0)) {
            None => tensor,
            Some(positions) => zero_positions(&tensor, positions)?,
        };
        masked.insert(name, tensor);
    }
    Network::from_tensors(network.declaration().clone(), masked, network.statistics())
}

/// For each tensor and axis, the positions that go.
type Removed<'a> = BTreeMap<(&'a str, usize), Gone>;

/// Which positions of an axis go; what is not marked stays. Axes that lose the same share the marks.
#[derive(Clone, Default)]
struct Gone(Arc<Vec<bool>>);

impl Gone {
    /// The positions of the channels that go.
    fn of(positions: &Positions, channels: &[usize]) -> Self {
        let mut gone = Vec::new();
        for &position in channels.iter().flat_map(|&channel| &positions[channel]) {
            if gone.len() <= position {
                gone.resize(position + 1, false);
            }
            gone[position] = true;
        }
        Self(Arc::new(gone))
    }

    fn add(&mut self, other: &Self) {
        let gone = Arc::make_mut(&mut self.0);
        gone.resize(gone.len().max(other.0.len()), false);
        gone.iter_mut().zip(&*other.0).for_each(|(gone, other)| *gone |= other);
    }

    fn count(&self) -> usize {
        self.0.iter().filter(|gone| **gone).count()
    }

    fn has(&self, position: usize) -> bool {
        self.0.get(position).copied().unwrap_or(false)
    }

    /// Runs of positions that stay on an axis of this length.
    fn kept(&self, length: usize) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for position in (0..length).filter(|&position| !self.has(position)) {
            match runs.last_mut() {
                Some(run) if run.end == position => run.end += 1,
                _ => runs.push(position..position + 1),
            }
        }
        runs
    }
}

fn removed_positions<'a>(groups: &'a [ChannelGroup], plan: &PruningPlan) -> Removed<'a> {
    let mut removed = Removed::new();
    for group in groups {
        let Some(keep) = plan.keep.get(&group.name) else { continue };
        if keep.len() == group.channels {
            continue;
        }
        let channels: Vec<usize> = (0..group.channels).filter(|channel| keep.binary_search(channel).is_err()).collect();
        let mut found: Vec<(&Positions, Gone)> = Vec::new();
        for member in &group.members {
            let known = found.iter().rposition(|(positions, _)| positions.is_same(&member.positions));
            let at = known.unwrap_or_else(|| {
                found.push((&member.positions, Gone::of(&member.positions, &channels)));
                found.len() - 1
            });
            match removed.entry((&member.tensor, member.axis)) {
                Entry::Vacant(none) => _ = none.insert(found[at].1.clone()),
                // Channels of several groups, side by side.
                Entry::Occupied(mut others) => others.get_mut().add(&found[at].1),
            }
        }
    }
    removed
}

/// What is kept of a tensor, a variable of its own if that is asked for and anything goes.
fn keep_positions(name: &str, tensor: &Tensor, removed: &Removed<'_>, is_variable: bool) -> Result<Tensor> {
    let mut runs = Vec::new();
    for axis in 0..tensor.rank().min(2) {
        let length = tensor.dim(axis)?;
        let kept = removed.get(&(name, axis)).map(|gone| gone.kept(length));
        if kept.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::new(ErrorKind::Budget, format!("nothing would be left of `{name}` on axis {axis}")));
        }
        runs.push(kept);
    }
    if runs.iter().all(Option::is_none) {
        return Ok(tensor.clone());
    }
    match (kernel::is_native(tensor), tensor.dtype()) {
        (true, DType::F64) => copied::<f64>(tensor, &runs, is_variable),
        (true, _) => copied::<f32>(tensor, &runs, is_variable),
        (false, _) => selected(tensor, &runs),
    }
}

/// The kept positions of both axes in one pass, run by run.
fn copied<T: kernel::Float>(tensor: &Tensor, runs: &[Option<Vec<Range<usize>>>], is_variable: bool) -> Result<Tensor> {
    let mut shape = tensor.dims().to_vec();
    let each: usize = shape.iter().skip(2).product();
    let columns = shape.get(1).copied().unwrap_or(1);
    let whole = |axis: usize, length: usize| match runs.get(axis) {
        Some(Some(kept)) => kept.clone(),
        _ => std::iter::once(0..length).collect(),
    };
    let [rows, kept_columns] = [whole(0, shape[0]), whole(1, columns)];
    for (length, kept) in shape.iter_mut().zip([&rows, &kept_columns]) {
        *length = kept.iter().map(Range::len).sum();
    }
    let in_row: Vec<Range<usize>> = kept_columns.iter().map(|run| run.start * each..run.end * each).collect();
    let mut values: Vec<T> = Vec::with_capacity(shape.iter().product());
    kernel::read_floats(tensor, |from: &[T]| {
        for row in rows.into_iter().flatten() {
            let row = &from[row * columns * each..][..columns * each];
            in_row.iter().for_each(|run| values.extend_from_slice(&row[run.clone()]));
        }
        Ok(())
    })?;
    Ok(match is_variable {
        // Made of these values: a variable that is made of a tensor is a copy of it.
        true => Var::from_vec(values, shape, tensor.device())?.into_inner(),
        false => Tensor::from_vec(values, shape, tensor.device())?,
    })
}

/// The same by Candle's operations, on any device.
fn selected(tensor: &Tensor, runs: &[Option<Vec<Range<usize>>>]) -> Result<Tensor> {
    let mut kept = tensor.clone();
    for (axis, runs) in runs.iter().enumerate() {
        let Some(runs) = runs else { continue };
        let at: Vec<u32> = runs.iter().cloned().flatten().map(|position| position as u32).collect();
        let at = Tensor::new(at, kept.device())?;
        kept = kept.contiguous()?.index_select(&at, axis)?;
    }
    Ok(kept)
}

fn zero_positions(tensor: &Tensor, positions: &Gone) -> Result<Tensor> {
    let kept: Vec<u8> = (0..tensor.dim(0)?).map(|place| u8::from(!positions.has(place))).collect();
    let mut shape = vec![1; tensor.rank()];
    shape[0] = kept.len();
    let kept = Tensor::from_vec(kept, shape, tensor.device())?.broadcast_as(tensor.shape())?;
    // Chosen, not multiplied: a weight that is not finite must go as well.
    Ok(kept.where_cond(tensor, &tensor.zeros_like()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};
    use proptest::prelude::*;

    use super::*;
    use crate::random::Streams;

    /// Kept runs of an axis: stretches of either kind, short and long, of which the first stays.
    fn kept() -> impl Strategy<Value = (usize, Vec<Range<usize>>)> {
        prop::collection::vec((1..30_usize, 0..3_usize), 1..5).prop_map(|stretches| {
            let (mut gone, mut length) = (Gone::default(), 0);
            for (stays, goes) in stretches {
                length += stays;
                let position = Positions::from(vec![(length..length + goes).collect()]);
                gone.add(&Gone::of(&position, &[0]));
                length += goes;
            }
            (length, gone.kept(length))
        })
    }

    proptest! {
        #[test]
        fn copies_are_what_candle_selects(rows in kept(), columns in kept(), side in 1..6_usize, whole in 0..4_usize) {
            let shape = [rows.0, columns.0, side, side];
            let weight = Streams::new(1).stream().normal(&shape, DType::F32, &Device::Cpu)?;
            let rows = (whole & 1 == 0).then_some(rows.1);
            let columns = (whole & 2 == 0).then_some(columns.1);
            for (tensor, runs) in [(weight.clone(), vec![rows.clone(), columns]), (weight.flatten_from(1)?.i((.., 0))?, vec![rows])] {
                let expected = selected(&tensor, &runs)?;
                for is_variable in [false, true] {
                    let copy = copied::<f32>(&tensor, &runs, is_variable)?;
                    prop_assert_eq!((copy.dims(), copy.is_variable()), (expected.dims(), is_variable));
                    let off = (&copy - &expected)?.abs()?.sum_all()?.to_scalar::<f32>()?;
                    prop_assert_eq!(off, 0.0);
                }
            }
        }
    }
}
