//! The cost of a network by the widths of its groups alone, fast enough to search over.

use std::collections::BTreeMap;

use super::cost::{Cost, layer_cost};
use super::cut::shrink_layer;
use super::groups::{ChannelGroup, Member};
use super::plan::typical_channels;
use crate::Result;
use crate::network::{Declaration, LayerKind, Shape};

/// A declaration reduced to what its cost depends on.
#[derive(Debug, Clone)]
pub(crate) struct CostByWidth {
    layers: Vec<CostedLayer>,
}

/// A layer that costs something.
#[derive(Debug, Clone)]
struct CostedLayer {
    name: String,
    kind: LayerKind,
    shape: Shape,
    is_last: bool,
    /// What goes from its outputs (axis 0 of the weight) and from its inputs (axis 1).
    axes: [Vec<Narrowing>; 2],
}

/// How one group narrows one axis.
#[derive(Debug, Clone)]
struct Narrowing {
    group: usize,
    /// Positions removed, by the number of channels that the group keeps.
    removed: Vec<usize>,
}

impl CostByWidth {
    /// # Errors
    /// As [`Declaration::wiring`].
    pub(crate) fn new(declaration: &Declaration, groups: &[ChannelGroup]) -> Result<Self> {
        let mut narrowings: BTreeMap<(&str, usize), Vec<Narrowing>> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate() {
            for member in group.members.iter().filter(|member| member.is_width()) {
                let narrowing = Narrowing { group: at, removed: removed_by_count(group, member) };
                narrowings.entry((&member.layer, member.axis)).or_default().push(narrowing);
            }
        }
        let shapes = declaration.wiring()?.shapes;
        let last = declaration.layers.len().saturating_sub(1);
        let mut layers = Vec::new();
        for (at, layer) in declaration.layers.iter().enumerate() {
            if layer_cost(&layer.kind, shapes[at], at == last) != Cost::default() {
                let axes = [0, 1].map(|axis| narrowings.remove(&(layer.name.as_str(), axis)).unwrap_or_default());
                let (name, kind) = (layer.name.clone(), layer.kind.clone());
                layers.push(CostedLayer { name, kind, shape: shapes[at], is_last: at == last, axes });
            }
        }
        Ok(Self { layers })
    }

    /// The cost when group i keeps `keep[i]` channels; counts from 1 to the number of channels, others are taken as the nearest of these.
    pub(crate) fn cost(&self, keep: &[usize]) -> Cost {
        self.layers.iter().map(|layer| layer_cost(&layer.narrowed(keep), layer.shape, layer.is_last)).sum()
    }

    /// The names of the layers that cost something, in forward order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// These layers when group i keeps `keep[i]` channels.
    pub(crate) fn layers(&self, keep: &[usize]) -> impl Iterator<Item = LayerKind> {
        self.layers.iter().map(|layer| layer.narrowed(keep))
    }
}

impl CostedLayer {
    fn narrowed(&self, keep: &[usize]) -> LayerKind {
        let [outputs, inputs] = [0, 1].map(|axis| {
            let gone =
                |narrowing: &Narrowing| narrowing.removed[keep[narrowing.group].min(narrowing.removed.len() - 1)];
            self.axes[axis].iter().map(gone).sum()
        });
        let mut kind = self.kind.clone();
        shrink_layer(&mut kind, outputs, inputs);
        kind
    }
}

/// The positions of a member that go, for each number of kept channels from 0, which stands for 1, to all.
fn removed_by_count(group: &ChannelGroup, member: &Member) -> Vec<usize> {
    let places: Vec<usize> = member.positions.iter().map(<[usize]>::len).collect();
    let (all, each) = (places.iter().sum::<usize>(), places.first().copied().unwrap_or(0));
    let left = |count: usize| match places.iter().all(|&other| other == each) {
        true => count * each,
        // Only groups that a concatenation joins have channels of different cost.
        false => typical_channels(group, count).into_iter().map(|channel| places[channel]).sum(),
    };
    (0..=group.channels).map(|count| all - left(count.max(1).min(group.channels))).collect()
}
