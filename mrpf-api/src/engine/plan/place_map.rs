//! Linear maps between the places of two values: pooling by means, resizing, and moving places about.

use super::Sizes;
use crate::network::LayerKind;
use crate::numeric::kernel::interpolation;

/// Every place of the output is a sum of shares of the input's places, the same for each channel.
///
/// Channels that the input has not are zeros.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "cudnn"), allow(dead_code))]
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
            _ => return None,
        };
        let all = (0..to.height).flat_map(|row| (0..to.width).map(move |column| (row, column)));
        Some(Self::new(all.map(|(row, column)| entries(row, column))))
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

    /// The way back from gradients by the output to those by the input, which has so many places.
    #[cfg_attr(not(feature = "cudnn"), allow(dead_code))]
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
    use crate::data::ImageShape;
    use crate::network::Builder;
    use crate::numeric::{PoolGeometry, avg_pool2d, pad_shortcut, resize};
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

    /// Asserts that a layer's map gives what its operation gives, there and back.
    fn check(
        kind: LayerKind,
        [height, width]: [usize; 2],
        operation: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let mut net = Builder::new("map", ImageShape { channels: 1, height, width }, 1);
        net.layer("map", kind.clone(), &[crate::network::INPUT]).global_avg_pool("mean").linear("out", 1);
        let declaration = net.finish()?;
        let shape = declaration.wiring()?.shapes[0];
        let [from, to] = [[1, height, width], shape.dims().try_into().expect("a map")]
            .map(|[channels, height, width]: [usize; 3]| Sizes { height, width, channels });
        let map = PlaceMap::of(&kind, from, to).expect("a map of places");
        let mut stream = crate::random::Streams::new(1).stream();
        let x = Var::from_tensor(&stream.normal(&[1, 1, height, width], DType::F32, &Device::Cpu)?)?;
        let y = operation(&x)?;
        let by_y = stream.normal(y.dims(), DType::F32, &Device::Cpu)?;
        let gradients = (&y * &by_y)?.sum_all()?.backward()?;
        let by_x = gradients.get(&x).expect("a gradient");
        let numbers = |tensor: &Tensor| -> Result<Vec<f32>> { Ok(tensor.narrow(1, 0, 1)?.flatten_all()?.to_vec1()?) };
        let near = |found: Vec<f32>, expected: Vec<f32>| {
            assert_eq!(found.len(), expected.len(), "{kind:?}");
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{kind:?} {found:?} {expected:?}");
        };
        near(map.apply(&numbers(&x)?), numbers(&y)?);
        near(map.transposed(from.pixels()).apply(&numbers(&by_y)?), numbers(by_x)?);
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
            check(LayerKind::AvgPool(pool), size, |x| avg_pool2d(x, &pool)).expect("it computes");
            check(LayerKind::Resize { size: other }, size, |x| resize(x, other)).expect("it computes");
            let short = LayerKind::PadShortcut { stride: step, channels };
            check(short, size, |x| pad_shortcut(x, step, channels)).expect("it computes");
        }
    }
}
