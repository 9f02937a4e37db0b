//! The ziggurat that standard normal numbers are drawn by, for devices that draw them themselves.
//!
//! [`StandardNormal`] keeps its tables to itself. They are read off the numbers that it makes of chosen words, and taken only if the
//! same steps written down here then give the same numbers: a library that draws in another way is noticed, and used itself.

use rand::rand_core::Infallible;
use rand::{Rng, RngExt, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Open01, StandardNormal};
use std::sync::LazyLock;

/// Layers, of which the lowest has the tail.
const LAYERS: usize = 256;

/// Numbers that are compared before the tables are taken; a few of them are from the tail.
const COMPARED: usize = 20_000;

/// Half of the normal density, cut into layers of the same area (Doornik 2005, "An Improved Ziggurat Method to Generate Normal Random
/// Samples", ZIGNOR).
#[derive(Debug)]
pub(crate) struct Ziggurat {
    /// Where each layer ends; that of the lowest one is where it would end if it had no tail.
    edges: [f64; LAYERS + 1],
    /// The density there, not normalised.
    heights: [f64; LAYERS + 1],
}

impl Ziggurat {
    /// That of [`StandardNormal`]; none if it draws in another way than [`draw`](Self::draw).
    pub fn known() -> Option<&'static Self> {
        static KNOWN: LazyLock<Option<Ziggurat>> = LazyLock::new(|| {
            let found = Ziggurat::read_off();
            found.draws_the_same(0, COMPARED).then_some(found)
        });
        KNOWN.as_ref()
    }

    /// Edges, then heights.
    #[cfg(feature = "cudnn")]
    pub fn tables(&self) -> Vec<f64> {
        [self.edges, self.heights].concat()
    }

    fn read_off() -> Self {
        // Of a word the low byte chooses the layer and the high 52 bits the place between its ends, here 2^-20 of the way: small enough to
        // be taken in every layer, and so that no digit of the edge is lost. The last layer wants a second word near one.
        let edge = |layer: usize| -> f64 {
            let words = [1 << 63 | 1 << 43 | layer as u64, u64::MAX];
            StandardNormal.sample(&mut Chosen { words: words.into_iter(), after: ChaCha8Rng::from_seed([0; 32]) })
        };
        let number = |layer: usize| if layer == LAYERS { 0.0 } else { edge(layer) * f64::from(1 << 20) };
        let edges: [f64; LAYERS + 1] = std::array::from_fn(number);
        Self { edges, heights: edges.map(density) }
    }

    /// A standard normal number: the steps of the library, which the kernel `normal` follows as well.
    fn draw(&self, stream: &mut impl Rng) -> f64 {
        loop {
            let word = stream.next_u64();
            let layer = (word & 0xff) as usize;
            let place = f64::from_bits(word >> 12 | 0x4000_0000_0000_0000) - 3.0;
            let x = place * self.edges[layer];
            if x.abs() < self.edges[layer + 1] {
                return x;
            }
            if layer == 0 {
                let end = self.edges[1];
                let beyond = loop {
                    let [along, up] =
                        [stream.sample::<f64, _>(Open01).ln() / end, stream.sample::<f64, _>(Open01).ln()];
                    if -2.0 * up >= along * along {
                        break along;
                    }
                };
                return if place < 0.0 { beyond - end } else { end - beyond };
            }
            let [low, high] = [self.heights[layer + 1], self.heights[layer]];
            if low + (high - low) * stream.random::<f64>() < density(x) {
                return x;
            }
        }
    }

    /// Whether so many numbers of a stream, and what it gives after them, are those of the library.
    fn draws_the_same(&self, seed: u8, count: usize) -> bool {
        let [mut here, mut there] = [(); 2].map(|()| ChaCha8Rng::from_seed([seed; 32]));
        let is_same =
            |_| self.draw(&mut here).to_bits() == Distribution::<f64>::sample(&StandardNormal, &mut there).to_bits();
        (0..count).all(is_same) && here.next_u64() == there.next_u64()
    }
}

fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp()
}

/// Chosen words, and after them those of a stream, so that nobody waits for better ones for ever.
struct Chosen {
    words: std::array::IntoIter<u64, 2>,
    after: ChaCha8Rng,
}

impl TryRng for Chosen {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_u64() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.words.next().unwrap_or_else(|| self.after.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.next_u64().to_le_bytes()[..part.len()]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_written_down_here_draw_the_numbers_of_the_library() {
        let ziggurat = Ziggurat::known().expect("the library draws by these steps");
        assert!((1..=8).all(|seed| ziggurat.draws_the_same(seed, 100_000)));
    }

    #[test]
    fn tables_are_read_off_without_a_loss_and_wrong_ones_are_noticed() {
        let Ziggurat { edges, heights } = Ziggurat::read_off();
        // Printed in the paper and in the library: the last edge before the tail.
        assert_eq!(edges[1], 3.654_152_885_361_009);
        assert!(edges.windows(2).all(|pair| pair[0] > pair[1]));
        // All layers have the area of the lowest one.
        let area = edges[0] * heights[1];
        assert!((1..LAYERS).all(|at| (edges[at] * (heights[at + 1] - heights[at]) / area - 1.0).abs() < 1e-9));
        let mut moved = Ziggurat { edges, heights };
        moved.edges[100] *= 1.0 + f64::EPSILON;
        assert!(!moved.draws_the_same(0, COMPARED));
    }
}
