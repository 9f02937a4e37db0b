//! Convolutions of any kernel and stride, and their gradients by the input, as matrix products whose rows are windows read in place.
//!
//! The gradient by the input of a convolution with stride s is s x s convolutions of the output's gradient, one for each place that
//! a pixel can have between two windows, each with the taps that reach it.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::sync::Arc;

use super::finish::{Finish, Piece};
use super::memory::Memory;
use super::product::{Panels, Rows, Run, Target};
use crate::numeric::ConvGeometry;
use crate::numeric::kernel::with_scratch;

/// Pixels of a block, at least.
const BLOCK: usize = 240;

/// From a source `[height, width, inputs]` to a target `[height', width', outputs]`.
#[derive(Debug)]
pub(super) struct Direct {
    inputs: usize,
    outputs: usize,
    /// Source pixels from one target pixel of a phase to the next.
    stride: [usize; 2],
    /// Target pixels from one of a phase to the next.
    spread: [usize; 2],
    /// Zeros before the source.
    before: [usize; 2],
    /// Source pixels that a target pixel reads, from the first to the last.
    span: [usize; 2],
    phases: Vec<Phase>,
}

/// Target pixels that see the same taps.
#[derive(Debug)]
struct Phase {
    first: [usize; 2],
    /// Taps that lie side by side in the source: row, column, how many.
    runs: Vec<[usize; 3]>,
    /// Row and column in the kernel of each tap.
    taps: Vec<[usize; 2]>,
    weight: Panels,
}

impl Direct {
    /// The convolution itself; `weight` is `[outputs, inputs, kernel height, kernel width]`.
    pub fn forward(
        memory: &Arc<Memory>,
        [inputs, outputs]: [usize; 2],
        geometry: ConvGeometry,
        weight: &[f32],
    ) -> Self {
        let ConvGeometry { kernel, stride, padding, .. } = geometry;
        let runs = (0..kernel[0]).map(|row| [row, 0, kernel[1]]).collect();
        let taps: Vec<[usize; 2]> = (0..kernel[0] * kernel[1]).map(|tap| [tap / kernel[1], tap % kernel[1]]).collect();
        let count = taps.len();
        let panels = Panels::new(memory, [count * inputs, outputs], |row, output| {
            weight[(output * inputs + row % inputs) * count + row / inputs]
        });
        let phases = vec![Phase { first: [0; 2], runs, taps, weight: panels }];
        Self { inputs, outputs, stride, spread: [1; 2], before: padding, span: kernel, phases }
    }

    /// The gradient by the input of that convolution: from `outputs` channels to `inputs`.
    pub fn backward(
        memory: &Arc<Memory>,
        [inputs, outputs]: [usize; 2],
        geometry: ConvGeometry,
        weight: &[f32],
    ) -> Self {
        let ConvGeometry { kernel, stride, padding, .. } = geometry;
        // The output pixel that reaches a pixel of a phase by a tap, counted from the phase's own place.
        let reach = |axis: usize, first: usize, tap: usize| (first + padding[axis]) as isize - tap as isize;
        let taps_of = |axis: usize, first: usize| {
            let of_phase = (0..kernel[axis]).rev().filter(|&tap| reach(axis, first, tap) % stride[axis] as isize == 0);
            of_phase.map(|tap| (tap, reach(axis, first, tap) / stride[axis] as isize)).collect::<Vec<_>>()
        };
        let all = |axis: usize| (0..stride[axis]).flat_map(move |first| taps_of(axis, first));
        let least = [0, 1].map(|axis| all(axis).map(|(_, reach)| reach).min().unwrap_or(0).min(0));
        let most = [0, 1].map(|axis| all(axis).map(|(_, reach)| reach).max().unwrap_or(0).max(0));
        let mut phases = Vec::new();
        for first in (0..stride[0] * stride[1]).map(|phase| [phase / stride[1], phase % stride[1]]) {
            let (rows, columns) = (taps_of(0, first[0]), taps_of(1, first[1]));
            let (mut runs, mut taps) = (Vec::new(), Vec::new());
            if let Some((_, column)) = columns.first() {
                for (tap, row) in &rows {
                    runs.push([(row - least[0]) as usize, (column - least[1]) as usize, columns.len()]);
                    taps.extend(columns.iter().map(|(across, _)| [*tap, *across]));
                }
            }
            let panels = Panels::new(memory, [taps.len() * outputs, inputs], |row, input| {
                let [down, across] = taps[row / outputs];
                weight[((row % outputs * inputs + input) * kernel[0] + down) * kernel[1] + across]
            });
            phases.push(Phase { first, runs, taps, weight: panels });
        }
        Self {
            inputs: outputs,
            outputs: inputs,
            stride: [1; 2],
            spread: stride,
            before: least.map(isize::unsigned_abs),
            span: [0, 1].map(|axis| (most[axis] - least[axis]) as usize + 1),
            phases,
        }
    }

    /// Size of all filters.
    pub fn bytes(&self) -> usize {
        self.phases.iter().map(|phase| phase.weight.bytes()).sum()
    }

    /// Fills `out` `[batch, target height, target width, outputs]` from `x` `[batch, source height, source width, inputs]`.
    pub fn run(&self, x: &[f32], size: [usize; 2], out: &mut [f32], out_size: [usize; 2], finish: Finish<'_>) {
        let batch = out.len() / (out_size[0] * out_size[1] * self.outputs);
        // Rows of every phase, one below the other.
        let rows = out_size[0].div_ceil(self.spread[0]);
        let per_row = self.spread[0] * out_size[1];
        let images = BLOCK.div_ceil(rows * per_row).min(batch.max(1));
        let rows_together = if images > 1 { rows } else { BLOCK.div_ceil(per_row).min(rows) };
        let blocks: Vec<Block> = (0..batch)
            .step_by(images)
            .flat_map(|image| (0..rows).step_by(rows_together).map(move |row| [image, row]))
            .map(|[image, row]| Block {
                image,
                images: images.min(batch - image),
                row,
                rows: rows_together.min(rows - row),
            })
            .collect();
        let starts: Vec<usize> =
            blocks.iter().map(|block| (block.image * out_size[0] + block.row * self.spread[0]) * out_size[1]).collect();
        let jobs: Vec<_> = blocks.into_iter().zip(finish.pieces(out, self.outputs, &starts)).collect();
        jobs.into_par_iter().for_each(|(block, piece)| self.run_block(x, size, out_size, block, piece));
    }

    fn run_block(&self, x: &[f32], size: [usize; 2], out_size: [usize; 2], block: Block, piece: Piece<'_>) {
        let columns = out_size[1].div_ceil(self.spread[1]);
        let needed = [(block.rows - 1) * self.stride[0] + self.span[0], (columns - 1) * self.stride[1] + self.span[1]];
        let rows = out_size[0].div_ceil(self.spread[0]);
        let in_place =
            self.before == [0; 2] && needed[1] <= size[1] && (rows - 1) * self.stride[0] + self.span[0] <= size[0];
        let image = size[0] * size[1] * self.inputs;
        if in_place {
            let first = block.image * image + block.row * self.stride[0] * size[1] * self.inputs;
            return self.multiply(&x[first..], [image, size[1]], out_size, block, piece);
        }
        let padded = needed[0] * needed[1] * self.inputs;
        with_scratch(block.images * padded, |scratch| {
            for (at, scratch) in scratch.chunks_mut(padded).enumerate() {
                self.pad(&x[(block.image + at) * image..][..image], size, block.row * self.stride[0], scratch, needed);
            }
            self.multiply(scratch, [padded, needed[1]], out_size, block, piece);
        });
    }

    /// Rows of an image from `first` on, counted with the zeros before it, between zeros.
    fn pad(&self, image: &[f32], size: [usize; 2], first: usize, padded: &mut [f32], needed: [usize; 2]) {
        let (before, row_length) = (self.before[1] * self.inputs, size[1] * self.inputs);
        for (at, to) in padded.chunks_mut(needed[1] * self.inputs).enumerate() {
            let row = (first + at).checked_sub(self.before[0]).filter(|row| *row < size[0]);
            let Some(row) = row else {
                to.fill(0.0);
                continue;
            };
            let copied = row_length.min(to.len() - before);
            to[..before].fill(0.0);
            to[before..][..copied].copy_from_slice(&image[row * row_length..][..copied]);
            to[before + copied..].fill(0.0);
        }
    }

    /// All phases of a block; `source` begins with what its first pixel reads, `[image step, width]` are the source's.
    fn multiply(
        &self,
        source: &[f32],
        [image_step, width]: [usize; 2],
        out_size: [usize; 2],
        block: Block,
        piece: Piece<'_>,
    ) {
        let image_pixels = (block.rows * self.spread[0]).min(out_size[0] - block.row * self.spread[0]) * out_size[1];
        let (mut starts, mut targets) = (Vec::new(), Vec::new());
        for phase in &self.phases {
            starts.clear();
            targets.clear();
            for image in 0..block.images {
                for row in 0..block.rows {
                    let down = row * self.spread[0] + phase.first[0];
                    if block.row * self.spread[0] + down >= out_size[0] {
                        continue;
                    }
                    for (column, across) in (phase.first[1]..out_size[1]).step_by(self.spread[1]).enumerate() {
                        let pixel = row * self.stride[0] * width + column * self.stride[1];
                        starts.push(image * image_step + pixel * self.inputs);
                        targets.push((image * image_pixels + down * out_size[1] + across) * self.outputs);
                    }
                }
            }
            if phase.taps.is_empty() {
                if !piece.accumulate {
                    targets.iter().for_each(|start| piece.out[*start..][..self.outputs].fill(0.0));
                }
                continue;
            }
            let place = |[row, column, taps]: &[usize; 3]| Run {
                offset: (row * width + column) * self.inputs,
                length: taps * self.inputs,
            };
            let runs: Vec<Run> = phase.runs.iter().map(place).collect();
            let rows = Rows { values: source, starts: &starts, runs: &runs };
            let to =
                Target { values: piece.out, starts: &targets, accumulate: piece.accumulate, has_whole_panels: false };
            phase.weight.multiply(0, rows, to);
        }
        Arch::new().dispatch(Finishing(piece));
    }
}

/// Rows of every phase in one image, or all rows in several.
#[derive(Clone, Copy)]
struct Block {
    image: usize,
    images: usize,
    row: usize,
    rows: usize,
}

struct Finishing<'a>(Piece<'a>);

impl WithSimd for Finishing<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.finish(simd);
    }
}
