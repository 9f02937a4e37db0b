//! Linear maps between the places of two values: pooling by means, resizing, and moving places about.

use super::Sizes;
use crate::network::LayerKind;
use crate::numeric::kernel::interpolation;

/// Every place of the output is a sum of shares of the input's places, the same for each channel.
///
/// Channels that the input has not are zeros.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlaceMap {
    /// Where the entries of each place of the output begin, and where the last ones end.
    pub starts: Vec<u32>,
    /// The place of the input that an entry takes from.
    pub places: Vec<u32>,
    /// What it is multiplied by.
    pub shares: Vec<f32>,
}

/// A place of the input, and its share.
type Entry = (usize, f64);

impl PlaceMap {
    /// The map that a layer is; none for a layer that is something else.
    pub(super) fn of(kind: &LayerKind, from: Sizes, to: Sizes) -> Option<Self> {
        let entries: Box<dyn Fn(usize, usize) -> Vec<Entry>> = match kind {
            LayerKind::AvgPool(pool) => {
                let share = 1.0 / (pool.kernel[0] * pool.kernel[1]) as f64;
                let span = move |axis: usize, at: usize, size: usize| {
                    let start = at * pool.stride[axis];
                    let end = (start + pool.kernel[axis]).saturating_sub(pool.padding[axis]).min(size);
                    start.saturating_sub(pool.padding[axis])..end
                };
                Box::new(move |row, column| {
                    let columns = span(1, column, from.width);
                    let of_row = |y: usize| columns.clone().map(move |x| (y * from.width + x, share));
                    span(0, row, from.height).flat_map(of_row).collect()
                })
            }
            LayerKind::PadShortcut { stride, .. } => {
                Box::new(move |row, column| vec![(row * stride * from.width + column * stride, 1.0)])
            }
            LayerKind::Resize { .. } => {
                let rows = interpolation(from.height, to.height);
                let columns = interpolation(from.width, to.width);
                Box::new(move |row, column| {
                    let of_row = |(y, by_row): Entry| {
                        columns[column].map(move |(x, by_column)| (y * from.width + x, by_row * by_column))
                    };
                    rows[row].into_iter().flat_map(of_row).filter(|(_, share)| *share != 0.0).collect()
                })
            }
            LayerKind::Unfold { patch } => {
                let (patch, columns) = (*patch, from.width / patch[1]);
                Box::new(move |sequence, token| {
                    let row = token / columns * patch[0] + sequence / patch[1];
                    vec![(row * from.width + token % columns * patch[1] + sequence % patch[1], 1.0)]
                })
            }
            LayerKind::Fold { patch, .. } => {
                let unfold = Self::of(&LayerKind::Unfold { patch: *patch }, to, from)?;
                return Some(unfold.transposed(to.pixels()));
            }
            _ => return None,
        };
        let all = (0..to.height).flat_map(|row| (0..to.width).map(move |column| (row, column)));
        Some(Self::new(all.map(|(row, column)| entries(row, column))))
    }

    /// How many entries the map of a layer has at most.
    pub(super) fn most_entries(kind: &LayerKind, to: Sizes) -> usize {
        let each = match kind {
            LayerKind::AvgPool(pool) => pool.kernel[0].saturating_mul(pool.kernel[1]),
            LayerKind::Resize { .. } => 4,
            _ => 1,
        };
        to.pixels().saturating_mul(each)
    }

    fn new(rows: impl Iterator<Item = Vec<Entry>>) -> Self {
        let mut map = Self { starts: vec![0], places: Vec::new(), shares: Vec::new() };
        for entries in rows {
            map.places.extend(entries.iter().map(|(place, _)| *place as u32));
            map.shares.extend(entries.iter().map(|(_, share)| *share as f32));
            map.starts.push(map.places.len() as u32);
        }
        map
    }

    /// The places that a place of the output takes from, and their shares.
    pub fn entries(&self, place: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let entries = self.starts[place] as usize..self.starts[place + 1] as usize;
        entries.map(|entry| (self.places[entry] as usize, self.shares[entry]))
    }

    /// The way back from gradients by the output to those by the input, which has so many places.
    pub fn transposed(&self, places: usize) -> Self {
        let mut rows: Vec<Vec<Entry>> = vec![Vec::new(); places];
        for (output, ends) in self.starts.windows(2).enumerate() {
            for entry in ends[0] as usize..ends[1] as usize {
                rows[self.places[entry] as usize].push((output, f64::from(self.shares[entry])));
            }
        }
        Self::new(rows.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::numeric::{PoolGeometry, avg_pool2d, fold, pad_shortcut, resize, unfold};
    use candle_core::{DType, Device, Tensor, Var};
    use proptest::prelude::*;

    impl PlaceMap {
        /// From the numbers of one channel to those of another.
        fn apply(&self, x: &[f32]) -> Vec<f32> {
            let of = |ends: &[u32]| {
                let entries = ends[0] as usize..ends[1] as usize;
                entries.map(|entry| self.shares[entry] * x[self.places[entry] as usize]).sum()
            };
            self.starts.windows(2).map(of).collect()
        }
    }

    /// Asserts that a layer's map gives what its operation gives on one channel, there and back.
    fn check(kind: &LayerKind, from: [usize; 2], operation: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
        let mut stream = crate::random::Streams::new(1).stream();
        let x = Var::from_tensor(&stream.normal(&[1, 1, from[0], from[1]], DType::F32, &Device::Cpu)?)?;
        let y = operation(&x)?;
        let by_y = stream.normal(y.dims(), DType::F32, &Device::Cpu)?;
        let gradients = (&y * &by_y)?.sum_all()?.backward()?;
        let by_x = gradients.get(&x).expect("a gradient");
        // Sequences and tokens are followed by the channels, height and width are not.
        let (height, width) = match kind {
            LayerKind::Unfold { .. } => (y.dim(1)?, y.dim(2)?),
            _ => (y.dim(2)?, y.dim(3)?),
        };
        let sizes = |height, width| Sizes { height, width, channels: 1 };
        let map = PlaceMap::of(kind, sizes(from[0], from[1]), sizes(height, width)).expect("a map of places");
        let numbers = |tensor: &Tensor| -> Result<Vec<f32>> {
            Ok(tensor.flatten_all()?.narrow(0, 0, tensor.elem_count().min(height * width))?.to_vec1()?)
        };
        let near = |found: Vec<f32>, expected: Vec<f32>| {
            assert_eq!(found.len(), expected.len(), "{kind:?}");
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{kind:?} {found:?} {expected:?}");
        };
        let image: Vec<f32> = x.flatten_all()?.to_vec1()?;
        near(map.apply(&image), numbers(&y)?);
        near(map.transposed(image.len()).apply(&numbers(&by_y)?), by_x.flatten_all()?.to_vec1()?);
        Ok(())
    }

    proptest! {
        #[test]
        fn maps_are_their_operations(
            size in [4usize..9, 4usize..9], kernel in [1usize..4, 1usize..4], stride in [1usize..4, 1usize..4],
            padded in any::<[bool; 2]>(), other in [1usize..12, 1usize..12], step in 1usize..4, channels in 1usize..4,
        ) {
            let padding = [0, 1].map(|axis| if padded[axis] { kernel[axis] / 2 } else { 0 });
            let pool = PoolGeometry { kernel, stride, padding };
            check(&LayerKind::AvgPool(pool), size, |x| avg_pool2d(x, &pool)).expect("it computes");
            check(&LayerKind::Resize { size: other }, size, |x| resize(x, other)).expect("it computes");
            let short = LayerKind::PadShortcut { stride: step, channels };
            check(&short, size, |x| pad_shortcut(x, step, channels)).expect("it computes");
            let patches = [size[0] * kernel[0], size[1] * kernel[1]];
            check(&LayerKind::Unfold { patch: kernel }, patches, |x| unfold(x, kernel)).expect("it computes");
            let whole = LayerKind::Fold { patch: kernel, size: patches };
            let sequences = [kernel[0] * kernel[1], size[0] * size[1]];
            let tokens = |x: &Tensor| fold(&x.reshape((1, sequences[0], sequences[1], 1))?, kernel, patches);
            check(&whole, sequences, tokens).expect("it computes");
        }
    }
}
