//! Sums of places, the same for each channel: means of windows, resizing, and places that are moved about.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::finish::{ANYTHING, Finish, Piece};
use super::plan::{PlaceMap, Sizes};
use super::vector::load;

/// Numbers that one thread takes at a time.
const PIECE: usize = 1 << 13;

/// Fills `out` `[batch, place, channel]` of sizes `to` from `x` of sizes `from`; channels that only one of them has are zeros.
pub(super) fn sum_places(x: &[f32], map: &PlaceMap, from: Sizes, to: Sizes, out: &mut [f32], finish: Finish<'_>) {
    let pixels = PIECE.div_ceil(to.channels);
    let starts: Vec<usize> = (0..out.len() / to.channels).step_by(pixels).collect();
    let pieces = finish.pieces(out, to.channels, &starts);
    starts.into_par_iter().zip(pieces).for_each(|(first, piece)| {
        Arch::new().dispatch(SumPlaces { x, map, from, to, first, piece });
    });
}

struct SumPlaces<'a> {
    x: &'a [f32],
    map: &'a PlaceMap,
    from: Sizes,
    to: Sizes,
    /// The piece's first pixel in the whole batch.
    first: usize,
    piece: Piece<'a>,
}

impl WithSimd for SumPlaces<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for pixel in 0..self.piece.out.len() / self.to.channels {
            let (image, place) = ((self.first + pixel) / self.to.pixels(), (self.first + pixel) % self.to.pixels());
            let x = &self.x[image * self.from.len()..][..self.from.len()];
            for first in (0..self.to.channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(self.to.channels - first);
                let there = lanes.min(self.from.channels.saturating_sub(first));
                let mut sum = simd.splat_f32s(0.0);
                for (source, share) in self.map.entries(place).filter(|_| there > 0) {
                    let x = &x[source * self.from.channels + first..];
                    let x = if there == lanes { load(simd, x, lanes) } else { simd.partial_load_f32s(&x[..there]) };
                    sum = simd.mul_add_e_f32s(x, simd.splat_f32s(share), sum);
                }
                let bias = self.piece.bias(simd, first, lanes);
                self.piece.put::<S, { ANYTHING }>(simd, pixel, first, lanes, sum, bias);
            }
        }
    }
}
