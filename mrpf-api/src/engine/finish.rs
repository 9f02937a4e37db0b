//! What follows a convolution while its output is in a register still: bias, another branch, ReLU and its gradient.

use pulp::Simd;

use super::vector::{self, load, mask_bytes, read_bits, store, write_bits};

/// Parts of a kind of finishing, which is their sum.
const BIAS: u8 = 1;
const ACCUMULATE: u8 = 2;
const OTHER: u8 = 4;
const PASS: u8 = 8;
const RELU: u8 = 16;
const CEILING: u8 = 32;

/// The kinds that occur often.
pub(super) const NOTHING: u8 = 0;
pub(super) const BIAS_RELU: u8 = BIAS + RELU;
pub(super) const BIAS_RELU6: u8 = BIAS + RELU + CEILING;
pub(super) const BIAS_OTHER_RELU: u8 = BIAS + OTHER + RELU;
pub(super) const PASSED: u8 = PASS;
pub(super) const ACCUMULATE_PASSED: u8 = ACCUMULATE + PASS;
/// A kind that is found out pixel by pixel.
pub(super) const ANYTHING: u8 = u8::MAX;

/// What is done with the sums of a convolution, in this order.
#[derive(Default)]
pub(super) struct Finish<'a> {
    /// Added to each channel.
    pub bias: Option<&'a [f32]>,
    /// Whether what the output holds is added.
    pub accumulate: bool,
    /// Added to each value, of the output's shape.
    pub other: Option<&'a [f32]>,
    /// The bits of a ReLU, in whose backward pass only values pass whose bit is set.
    pub passed: Option<&'a [u8]>,
    /// ReLU; takes a bit for each value that passed. See [`mask_bytes`]; cleared before.
    pub relu: Option<&'a mut [u8]>,
    /// The largest value that the ReLU lets through; gradients pass only below it.
    pub ceiling: Option<f32>,
}

/// A run of pixels of the output with everything that belongs to it.
pub(super) struct Piece<'a> {
    /// `[pixel, channel]`.
    pub out: &'a mut [f32],
    channels: usize,
    mask_bytes: usize,
    bias: Option<&'a [f32]>,
    /// Whether the sums are to be added to the output.
    pub accumulate: bool,
    other: Option<&'a [f32]>,
    passed: Option<&'a [u8]>,
    relu: Option<&'a mut [u8]>,
    ceiling: Option<f32>,
}

impl<'a> Finish<'a> {
    /// Cuts the output `[pixel, channel]` where each piece begins.
    pub fn pieces(self, mut out: &'a mut [f32], channels: usize, starts: &[usize]) -> Vec<Piece<'a>> {
        let pixels = out.len() / channels;
        let Self { bias, accumulate, mut other, mut passed, mut relu, ceiling } = self;
        let ends = starts.iter().skip(1).copied().chain([pixels]);
        let mut pieces = Vec::with_capacity(starts.len());
        for (start, end) in starts.iter().zip(ends) {
            let (here, rest) = out.split_at_mut((end - start) * channels);
            out = rest;
            let mut piece = Piece {
                out: here,
                channels,
                mask_bytes: mask_bytes(channels),
                bias,
                accumulate,
                other: None,
                passed: None,
                relu: None,
                ceiling,
            };
            if let Some(all) = other {
                let (here, rest) = all.split_at((end - start) * channels);
                (piece.other, other) = (Some(here), Some(rest));
            }
            if let Some(all) = passed {
                let (here, rest) = all.split_at((end - start) * mask_bytes(channels));
                (piece.passed, passed) = (Some(here), Some(rest));
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
    /// What there is to be done.
    pub fn kind(&self) -> u8 {
        u8::from(self.bias.is_some()) * BIAS
            + u8::from(self.accumulate) * ACCUMULATE
            + u8::from(self.other.is_some()) * OTHER
            + u8::from(self.passed.is_some()) * PASS
            + u8::from(self.relu.is_some()) * RELU
            + u8::from(self.ceiling.is_some()) * CEILING
    }

    /// The biases of `lanes` channels from `first` on, for [`Piece::put`]; zeros where there are none.
    #[inline(always)]
    pub fn bias<S: Simd>(&self, simd: S, first: usize, lanes: usize) -> S::f32s {
        match self.bias {
            Some(bias) => load(simd, &bias[first..], lanes),
            None => simd.splat_f32s(0.0),
        }
    }

    /// Finishes `lanes` sums of a pixel's channels from `first` on and writes them; `KIND` is the piece's kind or [`ANYTHING`].
    #[inline(always)]
    pub fn put<S: Simd, const KIND: u8>(
        &mut self,
        simd: S,
        pixel: usize,
        first: usize,
        lanes: usize,
        sums: S::f32s,
        bias: S::f32s,
    ) {
        let sums = if KIND & BIAS != 0 && self.bias.is_some() { simd.add_f32s(sums, bias) } else { sums };
        let accumulate = self.accumulate;
        self.end::<S, KIND>(simd, pixel, first, lanes, sums, accumulate);
    }

    /// What comes after the bias.
    #[inline(always)]
    fn end<S: Simd, const KIND: u8>(
        &mut self,
        simd: S,
        pixel: usize,
        first: usize,
        lanes: usize,
        sums: S::f32s,
        accumulate: bool,
    ) {
        let may = |part: u8| KIND & part != 0;
        let place = pixel * self.channels + first;
        let mut value = sums;
        if may(ACCUMULATE) && accumulate {
            value = simd.add_f32s(value, load(simd, &self.out[place..], lanes));
        }
        if let (true, Some(other)) = (may(OTHER), self.other) {
            value = simd.add_f32s(value, load(simd, &other[place..], lanes));
        }
        if let (true, Some(passed)) = (may(PASS), self.passed) {
            let bits = read_bits(&passed[pixel * self.mask_bytes..], first, lanes);
            value = vector::pass(simd, value, bits);
        }
        if let (true, Some(relu)) = (may(RELU), &mut self.relu) {
            let (passed, bits) = match self.ceiling {
                Some(ceiling) if may(CEILING) => vector::relu_below(simd, value, ceiling),
                _ => vector::relu(simd, value),
            };
            write_bits(&mut relu[pixel * self.mask_bytes..], first, lanes, bits);
            value = passed;
        }
        store(simd, &mut self.out[place..], value, lanes);
    }

    /// Whether nothing is left to do for sums that were written, or added, to the output as they are.
    fn is_finished(&self) -> bool {
        self.bias.is_none() && self.other.is_none() && self.passed.is_none() && self.relu.is_none()
    }

    /// Finishes sums that were written, or added, to the output.
    #[inline(always)]
    pub fn finish<S: Simd>(mut self, simd: S) {
        if self.is_finished() {
            return;
        }
        for pixel in 0..self.out.len() / self.channels {
            for first in (0..self.channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(self.channels - first);
                let mut sums = load(simd, &self.out[pixel * self.channels + first..], lanes);
                if let Some(bias) = self.bias {
                    sums = simd.add_f32s(sums, load(simd, &bias[first..], lanes));
                }
                self.end::<S, ANYTHING>(simd, pixel, first, lanes, sums, false);
            }
        }
    }
}
