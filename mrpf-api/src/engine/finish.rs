//! What follows a convolution while its output is still in the cache: bias, another branch, ReLU.

use super::winograd::{LANES, Lane};

/// What is done with the sums of a convolution.
#[derive(Default)]
pub(super) struct Finish<'a> {
    /// Added to each channel.
    pub bias: Option<&'a [f32]>,
    /// Added to each value, of the output's shape.
    pub other: Option<&'a [f32]>,
    /// ReLU; takes a bit for each value that passed, see [`mask_bytes`].
    pub relu: Option<&'a mut [u8]>,
    /// Whether the output is added to what is there.
    pub accumulate: bool,
}

/// A run of pixels of the output with everything that belongs to it.
pub(super) struct Piece<'a> {
    /// `[pixel, channel]`.
    pub out: &'a mut [f32],
    bias: Option<&'a [f32]>,
    other: Option<&'a [f32]>,
    relu: Option<&'a mut [u8]>,
    accumulate: bool,
}

/// Bytes of the bits of a pixel's channels.
pub(super) fn mask_bytes(channels: usize) -> usize {
    channels.div_ceil(8)
}

impl<'a> Finish<'a> {
    /// Cuts the output `[pixel, channel]` where each piece begins.
    pub fn pieces(self, mut out: &'a mut [f32], channels: usize, starts: Vec<usize>) -> Vec<Piece<'a>> {
        let pixels = out.len() / channels;
        let Self { bias, mut other, mut relu, accumulate } = self;
        let ends = starts.iter().skip(1).copied().chain([pixels]);
        let mut pieces = Vec::with_capacity(starts.len());
        for (start, end) in starts.iter().zip(ends) {
            let (here, rest) = out.split_at_mut((end - start) * channels);
            out = rest;
            let mut piece = Piece { out: here, bias, other: None, relu: None, accumulate };
            if let Some(all) = other {
                let (here, rest) = all.split_at((end - start) * channels);
                (piece.other, other) = (Some(here), Some(rest));
            }
            if let Some(all) = relu.take() {
                let (here, rest) = all.split_at_mut((end - start) * mask_bytes(channels));
                (piece.relu, relu) = (Some(here), Some(rest));
            }
            pieces.push(piece);
        }
        pieces
    }
}

impl Piece<'_> {
    /// Writes, or adds, the first `lanes` channels from `place` on.
    #[inline(always)]
    pub fn put(&mut self, place: usize, values: &Lane, lanes: usize) {
        let out = &mut self.out[place..];
        match out.first_chunk_mut::<LANES>() {
            Some(out) if lanes == LANES && !self.accumulate => *out = *values,
            Some(out) if lanes == LANES => add(out, values),
            _ if !self.accumulate => out[..lanes].copy_from_slice(&values[..lanes]),
            _ => add(&mut out[..lanes], &values[..lanes]),
        }
    }

    /// Bias, other branch, ReLU.
    #[inline(always)]
    pub fn finish(self, channels: usize) {
        // Plain loops: a closure would not be compiled for the processor at hand.
        if let Some(bias) = self.bias {
            for pixel in self.out.chunks_exact_mut(channels) {
                add(pixel, bias);
            }
        }
        if let Some(other) = self.other {
            add(self.out, other);
        }
        if let Some(mask) = self.relu {
            relu(self.out, channels, mask);
        }
    }
}

/// Adds number by number.
#[inline(always)]
pub(super) fn add(to: &mut [f32], values: &[f32]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += value;
    }
}

/// `max(x, 0)` in place with a bit for each value that passed; what is not a number passes.
#[inline(always)]
pub(super) fn relu(values: &mut [f32], channels: usize, mask: &mut [u8]) {
    for (pixel, mask) in values.chunks_exact_mut(channels).zip(mask.chunks_exact_mut(mask_bytes(channels))) {
        let (eights, rest) = pixel.as_chunks_mut::<8>();
        for (values, byte) in eights.iter_mut().zip(mask.iter_mut()) {
            *byte = relu_of(values);
        }
        if let (false, Some(byte)) = (rest.is_empty(), mask.last_mut()) {
            *byte = relu_of(rest);
        }
    }
}

/// At most eight values.
#[inline(always)]
fn relu_of(values: &mut [f32]) -> u8 {
    let mut bits = 0;
    for (at, value) in values.iter_mut().enumerate() {
        let stopped = *value <= 0.0;
        bits |= u8::from(!stopped) << at;
        *value = if stopped { 0.0 } else { *value };
    }
    bits
}

/// Clears the gradient of values that did not pass.
#[inline(always)]
pub(super) fn relu_gradient(gradient: &mut [f32], channels: usize, mask: &[u8]) {
    for (pixel, mask) in gradient.chunks_exact_mut(channels).zip(mask.chunks_exact(mask_bytes(channels))) {
        let (eights, rest) = pixel.as_chunks_mut::<8>();
        for (values, byte) in eights.iter_mut().zip(mask) {
            relu_gradient_of(values, *byte);
        }
        if let (false, Some(byte)) = (rest.is_empty(), mask.last()) {
            relu_gradient_of(rest, *byte);
        }
    }
}

#[inline(always)]
fn relu_gradient_of(values: &mut [f32], bits: u8) {
    for (at, value) in values.iter_mut().enumerate() {
        *value = if bits >> at & 1 == 1 { *value } else { 0.0 };
    }
}
