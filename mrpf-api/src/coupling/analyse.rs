//! From a declaration to its channel groups.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::atoms::Atoms;
use super::groups::{ChannelGroup, Member, Role};
use super::positions::Positions;
use crate::Result;
use crate::network::{Attention, AttentionUnit, Declaration, Layer, LayerKind, Shape};

/// The channel groups of a network, in the forward order of their first producer; frozen ones included.
///
/// Every layer's output is a row of atoms, one a channel. Layers that pass channels on hand the same atoms over; layers that tie
/// channels together unite them. What is united in the end is one channel of a group, and channels that stand on the output
/// axis of one producer belong to one group.
///
/// # Errors
/// [`crate::ErrorKind::Declaration`] if the declaration contradicts itself.
pub fn channel_groups(declaration: &Declaration) -> Result<Vec<ChannelGroup>> {
    let mut trace = Trace::follow(declaration)?;
    let roots = trace.roots();
    let group_of = trace.link_producers(&roots);
    Ok(trace.collect(declaration, &roots, &group_of))
}

/// The atom at each position of an axis. Layers that pass channels on hand over the row itself, so that what is found for it is found once.
type Row = Rc<[usize]>;

/// One axis of one tensor.
struct Axis {
    layer: usize,
    tensor: String,
    role: Role,
    axis: usize,
    atoms: Row,
}

struct Trace {
    atoms: Atoms,
    axes: Vec<Axis>,
    frozen: Vec<(Row, String)>,
    /// Atoms that a layer's filters make, in the order of the layers: what groups are named after and linked by.
    produced: Vec<(usize, Row)>,
}

impl Trace {
    fn follow(declaration: &Declaration) -> Result<Self> {
        let wiring = declaration.wiring()?;
        let mut trace = Self { atoms: Atoms::default(), axes: Vec::new(), frozen: Vec::new(), produced: Vec::new() };
        let input: Row = trace.atoms.fresh(declaration.input.channels).collect();
        trace.freeze(&input, "its channels are those of the input images");
        let mut outputs: Vec<Row> = Vec::with_capacity(declaration.layers.len());
        for (at, layer) in declaration.layers.iter().enumerate() {
            let reads: Vec<Row> =
                wiring.inputs[at].iter().map(|input_at| input_at.map_or(&input, |i| &outputs[i]).clone()).collect();
            let shape = wiring.inputs[at][0].map_or(Shape::Map(declaration.input), |i| wiring.shapes[i]);
            outputs.push(trace.layer(at, layer, &reads, shape));
        }
        if let Some(logits) = outputs.last() {
            trace.freeze(logits, "its channels are the classes");
        }
        Ok(trace)
    }

    fn freeze(&mut self, atoms: &Row, reason: impl Into<String>) {
        self.frozen.push((atoms.clone(), reason.into()));
    }

    fn axis(&mut self, layer: usize, tensor: String, role: Role, axis: usize, atoms: &Row) {
        self.axes.push(Axis { layer, tensor, role, axis, atoms: atoms.clone() });
    }

    /// The atoms of a layer's output.
    fn layer(&mut self, at: usize, layer: &Layer, reads: &[Row], shape: Shape) -> Row {
        let tensor = |role: &str| format!("{}.{role}", layer.name);
        let x = &reads[0];
        match &layer.kind {
            LayerKind::Normalize { .. } => {
                // Its means belong to channels, and a channel of zeros does not leave it as zeros.
                self.freeze(x, format!("the fixed means of `{}` belong to its channels", layer.name));
                x.clone()
            }
            LayerKind::Relu
            | LayerKind::Relu6
            | LayerKind::Silu
            | LayerKind::Gelu
            | LayerKind::MaxPool(_)
            | LayerKind::AvgPool(_)
            | LayerKind::GlobalAvgPool
            | LayerKind::Unfold { .. }
            | LayerKind::Fold { .. }
            | LayerKind::Resize { .. } => x.clone(),
            LayerKind::LayerNorm(_) => {
                // A masked channel of zeros would count in its mean and variance, and a removed one would not.
                self.freeze(x, format!("the layer norm `{}` takes mean and variance over all channels", layer.name));
                for role in ["weight", "bias"] {
                    self.axis(at, tensor(role), Role::Norm, 0, x);
                }
                x.clone()
            }
            LayerKind::Attention(attention) => {
                let [queries, keys, values] = [x, &reads[1], &reads[2]];
                self.attention(attention, queries, keys, values);
                self.axis(at, layer.name.clone(), Role::Attention, 0, values);
                self.axis(at, layer.name.clone(), Role::Attention, 1, queries);
                values.clone()
            }
            LayerKind::BatchNorm(_) => {
                for role in ["weight", "bias", "running_mean", "running_var"] {
                    self.axis(at, tensor(role), Role::Norm, 0, x);
                }
                x.clone()
            }
            LayerKind::Conv2d(conv) => {
                let made: Row = self.atoms.fresh(conv.out_channels).collect();
                let groups = conv.geometry.groups;
                let (each_in, each_out) = (conv.in_channels / groups, conv.out_channels / groups);
                if conv.is_depthwise() {
                    // Filter i reads input channel i / multiplier and lives and dies with it.
                    made.iter().enumerate().for_each(|(i, &atom)| self.atoms.unite(atom, x[i / each_out]));
                } else if groups > 1 {
                    // Every block keeps equally many channels: the same place in each block is one unit.
                    (0..conv.in_channels).for_each(|i| self.atoms.unite(x[i], x[i % each_in]));
                    (0..conv.out_channels).for_each(|i| self.atoms.unite(made[i], made[i % each_out]));
                }
                self.produce(at, tensor, &made, conv.bias);
                if !conv.is_depthwise() {
                    let block = if groups > 1 { x[..each_in].into() } else { x.clone() };
                    self.axis(at, tensor("weight"), Role::Input, 1, &block);
                }
                made
            }
            LayerKind::Linear(linear) => {
                let made: Row = self.atoms.fresh(linear.out_features).collect();
                self.produce(at, tensor, &made, linear.bias);
                self.axis(at, tensor("weight"), Role::Input, 1, x);
                made
            }
            LayerKind::Add => {
                for other in &reads[1..] {
                    x.iter().zip(&**other).for_each(|(&a, &b)| self.atoms.unite(a, b));
                }
                x.clone()
            }
            LayerKind::Concat => reads.concat().into(),
            LayerKind::Flatten => x.iter().flat_map(|&atom| std::iter::repeat_n(atom, shape.places())).collect(),
            LayerKind::PadShortcut { channels, .. } => {
                let reason = format!("the padding shortcut `{}` ties its channels to their places", layer.name);
                let padding = self.atoms.fresh(channels - x.len());
                let out = x.iter().copied().chain(padding).collect();
                self.freeze(&out, reason);
                out
            }
        }
    }

    /// Ties what an attention can only lose together. A query without its key is worth nothing, and all heads must stay equally wide.
    fn attention(&mut self, attention: &Attention, queries: &[usize], keys: &[usize], values: &[usize]) {
        for (i, (&query, &key)) in queries.iter().zip(keys).enumerate() {
            self.atoms.unite(query, key);
            self.atoms.unite(query, queries[attention.unit_of(queries.len(), i)]);
        }
        for (i, &value) in values.iter().enumerate() {
            self.atoms.unite(value, values[attention.unit_of(values.len(), i)]);
        }
        if attention.unit == AttentionUnit::Head {
            let widths = [queries, values].map(|channels| channels.len() / attention.heads);
            (0..attention.heads).for_each(|head| self.atoms.unite(queries[head * widths[0]], values[head * widths[1]]));
        }
    }

    fn produce(&mut self, at: usize, tensor: impl Fn(&str) -> String, made: &Row, bias: bool) {
        self.axis(at, tensor("weight"), Role::Output, 0, made);
        if bias {
            self.axis(at, tensor("bias"), Role::Output, 0, made);
        }
        self.produced.push((at, made.clone()));
    }

    fn roots(&mut self) -> Vec<usize> {
        (0..self.atoms.len()).map(|atom| self.atoms.find(atom)).collect()
    }

    /// For each atom that is the root of a produced channel, the root of the group that it belongs to.
    fn link_producers(&self, roots: &[usize]) -> Vec<Option<usize>> {
        let mut groups = Atoms::default();
        groups.fresh(roots.len());
        let mut is_made = vec![false; roots.len()];
        for (_, made) in &self.produced {
            for &atom in made.iter() {
                groups.unite(roots[made[0]], roots[atom]);
                is_made[roots[atom]] = true;
            }
        }
        is_made.into_iter().enumerate().map(|(root, is_made)| is_made.then(|| groups.find(root))).collect()
    }

    fn collect(&self, declaration: &Declaration, roots: &[usize], group_of: &[Option<usize>]) -> Vec<ChannelGroup> {
        let mut groups: Vec<ChannelGroup> = Vec::new();
        // For each channel (by its root), its group's place and its number there. Channels come in the order in which the first
        // producer makes them, then those that only later producers make.
        let mut number: Vec<Option<(usize, usize)>> = vec![None; roots.len()];
        let mut at_of_group: Vec<Option<usize>> = vec![None; roots.len()];
        for (layer, made) in &self.produced {
            for root in made.iter().map(|&atom| roots[atom]) {
                let Some(group) = group_of[root] else { continue };
                let at = *at_of_group[group].get_or_insert_with(|| {
                    let name = declaration.layers[*layer].name.clone();
                    groups.push(ChannelGroup { name, channels: 0, members: Vec::new(), frozen: None });
                    groups.len() - 1
                });
                number[root].get_or_insert_with(|| {
                    groups[at].channels += 1;
                    (at, groups[at].channels - 1)
                });
            }
        }
        let mut of_row: BTreeMap<*const usize, Vec<(usize, Positions)>> = BTreeMap::new();
        for axis in &self.axes {
            // Rows live as long as the axes that hold them, hence their addresses tell them apart; empty ones have nothing to tell.
            let found =
                of_row.entry(axis.atoms.as_ptr()).or_insert_with(|| by_group(&axis.atoms, roots, &number, &groups));
            for (at, positions) in found {
                groups[*at].members.push(Member {
                    layer: declaration.layers[axis.layer].name.clone(),
                    tensor: axis.tensor.clone(),
                    role: axis.role,
                    axis: axis.axis,
                    positions: positions.clone(),
                });
            }
        }
        let mut reasons: BTreeMap<usize, &str> = BTreeMap::new();
        for (atoms, reason) in &self.frozen {
            atoms.iter().for_each(|&atom| _ = reasons.entry(roots[atom]).or_insert(reason));
        }
        for (root, reason) in reasons {
            if let Some((at, _)) = number[root] {
                groups[at].frozen.get_or_insert_with(|| reason.to_owned());
            }
        }
        groups
    }
}

/// The groups whose channels stand on a row, in the order in which they begin there, each with the positions of its channels.
fn by_group(
    atoms: &[usize],
    roots: &[usize],
    number: &[Option<(usize, usize)>],
    groups: &[ChannelGroup],
) -> Vec<(usize, Positions)> {
    let found = || atoms.iter().enumerate().filter_map(|(at, &atom)| number[roots[atom]].map(|number| (number, at)));
    // Neighbours are nearly always of one group.
    let mut present: Vec<usize> = Vec::new();
    let mut last = None;
    for ((group, _), _) in found() {
        if last != Some(group) && !present.contains(&group) {
            present.push(group);
        }
        last = Some(group);
    }
    let positions = |group: usize| {
        let own = found().filter_map(move |((other, channel), at)| (other == group).then_some((channel, at)));
        Positions::of_pairs(groups[group].channels, own)
    };
    present.into_iter().map(|group| (group, positions(group))).collect()
}
