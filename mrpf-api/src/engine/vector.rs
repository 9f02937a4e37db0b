//! A register of the processor: loading and storing a part of it, and a bit for each of its numbers.

use pulp::{Simd, bytemuck};

/// The first `lanes` numbers of `from`, zeros after them.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, from: &[f32], lanes: usize) -> S::f32s {
    match S::as_simd_f32s(from).0.first() {
        Some(all) if lanes == S::F32_LANES => *all,
        _ => simd.partial_load_f32s(&from[..lanes]),
    }
}

/// Writes the first `lanes` numbers.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, to: &mut [f32], value: S::f32s, lanes: usize) {
    match S::as_mut_simd_f32s(to).0.first_mut() {
        Some(all) if lanes == S::F32_LANES => *all = value,
        _ => simd.partial_store_f32s(&mut to[..lanes], value),
    }
}

/// `max(x, 0)` and a bit for each number that passed; what is not a number passes.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, u16) {
    let zero = simd.splat_f32s(0.0);
    let stopped = simd.less_than_or_equal_f32s(x, zero);
    (simd.select_f32s(stopped, zero, x), !bits::<S>(stopped))
}

/// The numbers whose bit is set, zeros for the others.
#[inline(always)]
pub(super) fn pass<S: Simd>(simd: S, x: S::f32s, bits: u16) -> S::f32s {
    const WEIGHTS: [u32; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];
    let weights = S::as_simd_u32s(&WEIGHTS).0[0];
    let is_set = simd.greater_than_u32s(simd.and_u32s(simd.splat_u32s(u32::from(bits)), weights), simd.splat_u32s(0));
    simd.select_f32s(is_set, x, simd.splat_f32s(0.0))
}

/// A bit for each lane of a mask.
#[inline(always)]
fn bits<S: Simd>(mask: S::m32s) -> u16 {
    let bytes = bytemuck::bytes_of(&mask);
    if let (16, &[low, high]) = (S::F32_LANES, bytes) {
        // AVX-512 keeps masks as bits.
        return u16::from_le_bytes([low, high]);
    }
    let per_lane = bytes.len() / S::F32_LANES;
    let mut bits = 0;
    for lane in 0..S::F32_LANES {
        bits |= u16::from(bytes[lane * per_lane] != 0) << lane;
    }
    bits
}

/// Bytes of the bits of a pixel's channels.
pub(super) fn mask_bytes(channels: usize) -> usize {
    channels.div_ceil(8)
}

/// Keeps the bits of the channels from `first` on, whose number is `lanes`; bits below a byte are added to those that are there.
#[inline(always)]
pub(super) fn write_bits(mask: &mut [u8], first: usize, lanes: usize, bits: u16) {
    let bits = bits & (u16::MAX >> (16 - lanes));
    let [low, high] = bits.to_le_bytes();
    match first % 8 {
        0 if lanes > 8 => [mask[first / 8], mask[first / 8 + 1]] = [low, high],
        0 if lanes == 8 => mask[first / 8] = low,
        below => mask[first / 8] |= low << below,
    }
}

/// The bits from channel `first` on, at most `lanes`.
#[inline(always)]
pub(super) fn read_bits(mask: &[u8], first: usize, lanes: usize) -> u16 {
    let high = if lanes > 8 { mask[first / 8 + 1] } else { 0 };
    u16::from_le_bytes([mask[first / 8], high]) >> (first % 8)
}
