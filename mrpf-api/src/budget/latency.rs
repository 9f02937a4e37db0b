//! A table of layer times, by which latency becomes a budget that is the same every time.

use serde::{Deserialize, Serialize};

use crate::network::{Declaration, LayerKind};
use crate::{Error, ErrorKind, Result};

/// How long layers take by their widths, measured once on one device. Given the table, nothing is measured again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyTable {
    /// What it was measured on, for people.
    pub device: String,
    /// Images in a pass.
    pub batch: usize,
    /// Measured time of the whole network before any pruning, in milliseconds.
    pub network_ms: f64,
    /// Times of layers. What the network takes beyond their sum is counted as staying, whatever the widths.
    pub layers: Vec<LayerTimes>,
}

/// Times of one layer at some widths; between them they are interpolated, beyond them the nearest one counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTimes {
    /// The layer's name.
    pub layer: String,
    /// Numbers of outputs, ascending; the last is the whole layer.
    pub outputs: Vec<usize>,
    /// Numbers of inputs, ascending; a single one where inputs shrink with the outputs.
    pub inputs: Vec<usize>,
    /// Milliseconds of a pass, for each number of outputs and of inputs.
    pub milliseconds: Vec<Vec<f64>>,
}

impl LatencyTable {
    /// Checks a table that comes from elsewhere, and makes times that fall while a width grows as long as the longest before them:
    /// a narrower layer is never taken to be slower.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] naming the layer whose times are not as described.
    pub fn checked(mut self) -> Result<Self> {
        let wrong = |why: String| Err(Error::new(ErrorKind::Data, why).context("table of layer times"));
        if !(self.network_ms.is_finite() && self.network_ms > 0.0) {
            return wrong(format!("the network takes {} ms, expected a number above 0", self.network_ms));
        }
        for times in &mut self.layers {
            let ascending = |widths: &[usize]| !widths.is_empty() && widths.is_sorted_by(|a, b| a < b);
            let (rows, columns) = (times.outputs.len(), times.inputs.len());
            let complete =
                times.milliseconds.len() == rows && times.milliseconds.iter().all(|row| row.len() == columns);
            if !ascending(&times.outputs) || !ascending(&times.inputs) || !complete {
                return wrong(format!("layer `{}`: expected ascending widths and a time for each pair", times.layer));
            }
            for row in 0..rows {
                for column in 0..columns {
                    let time = times.milliseconds[row][column];
                    if !(time.is_finite() && time >= 0.0) {
                        return wrong(format!("layer `{}`: {time} ms, expected a number of at least 0", times.layer));
                    }
                    let above = if row > 0 { times.milliseconds[row - 1][column] } else { 0.0 };
                    let before = if column > 0 { times.milliseconds[row][column - 1] } else { 0.0 };
                    times.milliseconds[row][column] = time.max(above).max(before);
                }
            }
        }
        Ok(self)
    }

    /// Time of a network with these layers at some widths, in milliseconds.
    pub fn network(&self, declaration: &Declaration) -> f64 {
        let layers = declaration.layers.iter();
        self.total(layers.map(|layer| (self.place(&layer.name), layer.kind.clone())))
    }

    /// The position of a layer's times, if it has any.
    pub(super) fn place(&self, layer: &str) -> Option<usize> {
        self.layers.iter().position(|times| times.layer == layer)
    }

    /// Time of a network with these layers, each with the position of its times, in milliseconds.
    pub(super) fn total(&self, layers: impl Iterator<Item = (Option<usize>, LayerKind)>) -> f64 {
        let sum: f64 = layers.filter_map(|(place, kind)| place.map(|place| self.layers[place].at(&kind))).sum();
        let [scale, rest] = self.fit();
        rest + scale * sum
    }

    /// What the sum of layer times is multiplied by, and what is added, to give the network's measured time.
    fn fit(&self) -> [f64; 2] {
        let whole = |times: &LayerTimes| times.milliseconds.last().and_then(|row| row.last()).copied().unwrap_or(0.0);
        let sum: f64 = self.layers.iter().map(whole).sum();
        match sum > self.network_ms {
            // Layers are slower by themselves than in company, where their values are in the cache.
            true => [self.network_ms / sum, 0.0],
            false => [1.0, self.network_ms - sum],
        }
    }
}

impl LayerTimes {
    /// Time of the layer at the widths that `kind` has.
    pub fn at(&self, kind: &LayerKind) -> f64 {
        let [outputs, inputs] = widths(kind);
        let (row, down) = place(&self.outputs, outputs);
        let (column, right) = place(&self.inputs, inputs);
        let between = |row: &[f64]| row[column] + right * (row[(column + 1).min(row.len() - 1)] - row[column]);
        let last = self.milliseconds.len() - 1;
        let (above, below) = (between(&self.milliseconds[row]), between(&self.milliseconds[(row + 1).min(last)]));
        above + down * (below - above)
    }
}

/// Outputs and inputs of a layer whose times may be in a table; none of both for layers without widths.
pub fn widths(kind: &LayerKind) -> [usize; 2] {
    match kind {
        LayerKind::Conv2d(conv) => [conv.out_channels, conv.in_channels],
        LayerKind::Linear(linear) => [linear.out_features, linear.in_features],
        LayerKind::BatchNorm(norm) => [norm.channels, norm.channels],
        LayerKind::LayerNorm(norm) => [norm.channels, norm.channels],
        LayerKind::Attention(attention) => [attention.value_channels, attention.query_channels],
        _ => [0, 0],
    }
}

/// The position in ascending `widths` at or before `width`, and how far it is on the way to the next one, from 0 to 1.
fn place(widths: &[usize], width: usize) -> (usize, f64) {
    let after = widths.partition_point(|&other| other <= width);
    match (after.checked_sub(1), widths.get(after)) {
        (None, _) => (0, 0.0),
        (Some(at), None) => (at, 0.0),
        (Some(at), Some(&next)) => (at, (width - widths[at]) as f64 / (next - widths[at]) as f64),
    }
}
