//! A register of the processor: loading and storing a part of it, and a bit for each of its numbers.

use pulp::{Simd, bytemuck};
#[cfg(target_arch = "x86_64")]
use std::any::Any;

/// The first `lanes` numbers of `from`; after them comes whatever lies there, for nobody to use.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, from: &[f32], lanes: usize) -> S::f32s {
    // Loading a part of a register is a call; only at the end of a buffer is there no other way.
    match S::as_simd_f32s(from).0.first() {
        Some(all) => *all,
        None => simd.partial_load_f32s(&from[..lanes]),
    }
}

/// Writes the first `lanes` numbers.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, to: &mut [f32], value: S::f32s, lanes: usize) {
    if lanes == S::F32_LANES {
        match S::as_mut_simd_f32s(to).0.first_mut() {
            Some(all) => *all = value,
            None => simd.partial_store_f32s(&mut to[..lanes], value),
        }
        return;
    }
    if S::F32_LANES > 8 {
        // AVX-512 stores by a mask.
        return simd.partial_store_f32s(&mut to[..lanes], value);
    }
    // Elsewhere that takes longer than one store for each power of two.
    let (to, values) = (&mut to[..lanes], &bytemuck::cast_slice::<S::f32s, f32>(std::slice::from_ref(&value))[..lanes]);
    let mut at = 0;
    if lanes & 4 != 0 {
        to[..4].copy_from_slice(&values[..4]);
        at = 4;
    }
    if lanes & 2 != 0 {
        to[at..at + 2].copy_from_slice(&values[at..at + 2]);
        at += 2;
    }
    if lanes & 1 != 0 {
        to[at] = values[at];
    }
}

/// `max(x, 0)` and a bit for each number that passed; what is not a number passes.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, u16) {
    let zero = simd.splat_f32s(0.0);
    let stopped = simd.less_than_or_equal_f32s(x, zero);
    (simd.select_f32s(stopped, zero, x), !bits(simd, stopped))
}

/// `min(max(x, 0), ceiling)` and a bit for each number that is between the two; what is not a number passes.
#[inline(always)]
pub(super) fn relu_below<S: Simd>(simd: S, x: S::f32s, ceiling: f32) -> (S::f32s, u16) {
    let ceiling = simd.splat_f32s(ceiling);
    let (value, passed) = relu(simd, x);
    let cut = simd.less_than_or_equal_f32s(ceiling, value);
    (simd.select_f32s(cut, ceiling, value), passed & !bits(simd, cut))
}

/// The numbers whose bit is set, zeros for the others.
#[inline(always)]
pub(super) fn pass<S: Simd>(simd: S, x: S::f32s, bits: u16) -> S::f32s {
    const WEIGHTS: [u32; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];
    let weights = S::as_simd_u32s(&WEIGHTS).0[0];
    let is_set = simd.equal_u32s(simd.and_u32s(simd.splat_u32s(u32::from(bits)), weights), weights);
    simd.select_f32s(is_set, x, simd.splat_f32s(0.0))
}

/// A bit for each lane of a mask.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "only there more is known of `simd`"))]
fn bits<S: Simd>(simd: S, mask: S::m32s) -> u16 {
    let bytes = bytemuck::bytes_of(&mask);
    // What `simd` is, is known when compiling.
    #[cfg(target_arch = "x86_64")]
    if let (Some(v3), 32) = ((&simd as &dyn Any).downcast_ref::<pulp::x86::V3>(), bytes.len()) {
        let lanes: pulp::f32x8 = bytemuck::pod_read_unaligned(bytes);
        return v3.avx._mm256_movemask_ps(pulp::cast(lanes)) as u16;
    }
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
