//! The channels of several values one after the other, and each value's part of them.

use rayon::prelude::*;

/// Pixels that one thread takes at a time hold about so many numbers.
const PIECE: usize = 1 << 14;

/// Fills `out` `[pixel, channel]` with parts `[pixel, channels of the part]`.
pub(super) fn concat(parts: &[(&[f32], usize)], out: &mut [f32]) {
    let channels: usize = parts.iter().map(|(_, channels)| channels).sum();
    let pixels = PIECE.div_ceil(channels);
    out.par_chunks_mut(pixels * channels).enumerate().for_each(|(at, out)| {
        let mut first = 0;
        for (part, width) in parts {
            let part = part[at * pixels * width..].chunks_exact(*width);
            let rows = out.chunks_exact_mut(channels).zip(part);
            rows.for_each(|(out, part)| out[first..first + width].copy_from_slice(part));
            first += width;
        }
    });
}
