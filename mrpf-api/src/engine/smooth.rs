//! Activations without a corner, with their slopes.

use pulp::Arch;
use rayon::prelude::*;
use std::f32::consts::FRAC_1_SQRT_2;

use super::plan::Smooth;

/// Numbers that one thread takes at a time.
const PIECE: usize = 1 << 13;

/// Writes the activation of `x`, and its derivative there to `slopes`.
pub(super) fn smooth(kind: Smooth, x: &[f32], out: &mut [f32], slopes: &mut [f32]) {
    let pieces = out.par_chunks_mut(PIECE).zip(slopes.par_chunks_mut(PIECE)).zip(x.par_chunks(PIECE));
    pieces.for_each(|((out, slopes), x)| {
        let each = out.iter_mut().zip(slopes).zip(x);
        // Loops of their own: a function that is passed on is not compiled for the processor at hand.
        Arch::new().dispatch(
            #[inline(always)]
            || match kind {
                Smooth::Silu => {
                    for ((out, slope), x) in each {
                        [*out, *slope] = silu(*x);
                    }
                }
                Smooth::Gelu => {
                    for ((out, slope), x) in each {
                        [*out, *slope] = gelu(*x);
                    }
                }
            },
        );
    });
}

/// `x * sigmoid(x)`, and `sigmoid(x) * (1 + x * (1 - sigmoid(x)))`.
#[inline(always)]
fn silu(x: f32) -> [f32; 2] {
    let open = 1.0 / (1.0 + exponential(-x));
    [x * open, open * (1.0 + x * (1.0 - open))]
}

/// `x * Phi(x)`, and `Phi(x) + x * phi(x)`.
#[inline(always)]
fn gelu(x: f32) -> [f32; 2] {
    const INVERSE_ROOT_OF_TAU: f32 = 0.398_942_3;
    let below = 0.5 * (1.0 + candle_core::cpu::erf::erf_f32(x * FRAC_1_SQRT_2));
    [x * below, below + x * INVERSE_ROOT_OF_TAU * exponential(-0.5 * x * x)]
}

/// e to the power of `x` within two units in the last place, made of what processors do with several numbers at a time; the library's is a
/// call for each. What is not a number stays so, and sizes beyond those of f32 become infinity and zero.
///
/// A power of two times a polynomial on half an octave to both sides, that of Cephes' `expf` (Moshier 1992).
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, of which the first times any exponent is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const TERMS: [f32; 6] = [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let octave = (x * LOG2_E).round_ties_even();
    let rest = octave.mul_add(-LN_2[0], x);
    let rest = octave.mul_add(-LN_2[1], rest);
    let polynomial = TERMS.into_iter().fold(0.0f32, |sum, term| sum.mul_add(rest, term));
    let value = (polynomial * rest).mul_add(rest, rest) + 1.0;
    // Two factors, so that neither leaves the range on the way to its edge.
    let half = (octave.clamp(-300.0, 300.0) * 0.5).round_ties_even();
    let power = |of: f32| f32::from_bits(((of as i32 + 127) << 23) as u32);
    let result = value * power(half) * power(octave.clamp(-300.0, 300.0) - half);
    let result = if x > 88.8 { f32::INFINITY } else { result };
    let result = if x < -104.0 { 0.0 } else { result };
    if x.is_nan() { x } else { result }
}

/// `by_x` times `slopes`.
pub(super) fn times(gradient: &[f32], slopes: &[f32], out: &mut [f32]) {
    let pieces = out.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE)).zip(slopes.par_chunks(PIECE));
    pieces.for_each(|((out, gradient), slopes)| {
        out.iter_mut().zip(gradient).zip(slopes).for_each(|((out, gradient), slope)| *out = gradient * slope);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn exponentials_are_those_of_f64(x in -104.5f32..89.5) {
            let expected = f64::from(x).exp();
            // Twice the distance between neighbours, and below the normal range that of the smallest.
            let room = (expected * 2.4e-7).max(3e-45);
            let found = f64::from(exponential(x));
            prop_assert!((found - expected).abs() <= room || expected > f64::from(f32::MAX), "{found} {expected}");
        }
    }

    #[test]
    fn exponentials_at_the_ends() {
        let found = [f32::NEG_INFINITY, -1e30, 0.0, 88.9, 1e30, f32::INFINITY].map(exponential);
        assert_eq!(found, [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY, f32::INFINITY]);
        assert!(exponential(f32::NAN).is_nan());
    }
}
