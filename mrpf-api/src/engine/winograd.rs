//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications in place of 144.
//!
//! Lavin and Gray 2016 (arXiv 1509.09308), section 4.2. A tile of 6x6 input pixels and a filter are both transformed to 36 numbers
//! a channel; for each of the 36 a matrix product over the channels follows, and each 6x6 of sums becomes 4x4 output
//! pixels. Images are `[height, width, channel]`, so that everything but the products runs along the channels. In f32 the result is
//! off by some 1e-5 of its size, ten times what the plain sum is.

use pulp::Arch;
use rayon::prelude::*;
use std::sync::Arc;

use super::finish::{Finish, Piece};
use super::memory::Memory;
use super::product::{PANEL, Panels, Rows, Run, Target};
use super::tiles::{Block, Grid, Outputs, Products, plane, tile_row, transform_tiles};
use super::transform::{PLANES, SIDE, transform_filter};
use crate::numeric::kernel::with_scratch;

/// Filters of more bytes than this are read once for all tiles; smaller ones with each block of tiles.
const LARGE_FILTERS: usize = 3 << 20;

/// A convolution `[height, width, inputs]` to `[height', width', outputs]` with its filters transformed.
#[derive(Debug)]
pub(super) struct Winograd {
    inputs: usize,
    outputs: usize,
    padding: [usize; 2],
    /// One matrix `[inputs, outputs]` for each of the 36.
    filters: Panels,
}

impl Winograd {
    /// Whether fewer multiplications are left than the plain sum has, by enough to pay for the transforms.
    pub fn pays(inputs: usize, outputs: usize, out: [usize; 2]) -> bool {
        let tiles = out[0].div_ceil(SIDE) * out[1].div_ceil(SIDE);
        inputs >= 8 && outputs >= 3 && PLANES * tiles * 2 <= 9 * out[0] * out[1]
    }

    /// Transforms filters; `filter(output, input)` gives the nine weights of one, row by row.
    pub fn new(
        memory: &Arc<Memory>,
        [inputs, outputs]: [usize; 2],
        padding: [usize; 2],
        filter: impl Fn(usize, usize) -> [f32; 9] + Sync,
    ) -> Self {
        let mut filters = Panels::unwritten(memory, PLANES, [inputs, outputs]);
        filters.panels_mut().enumerate().for_each(|(panel, planes)| {
            for input in 0..inputs {
                let mut weights = [[0.0; PANEL]; 9];
                for lane in 0..PANEL.min(outputs - panel * PANEL) {
                    let nine = filter(panel * PANEL + lane, input);
                    weights.iter_mut().zip(nine).for_each(|(weights, weight)| weights[lane] = weight);
                }
                transform_filter(&weights, &mut |plane, row| planes[plane * inputs + input] = *row);
            }
        });
        Self { inputs, outputs, padding, filters }
    }

    /// Size of the transformed filters.
    pub fn bytes(&self) -> usize {
        self.filters.bytes()
    }

    /// Convolves `x` `[batch, height, width, inputs]` into `out` `[batch, height', width', outputs]`.
    pub fn run(&self, x: &[f32], size: [usize; 2], out: &mut [f32], finish: Finish<'_>) {
        let grid = Grid::new(size, [0, 1].map(|axis| size[axis] + 2 * self.padding[axis] - 2), self.padding);
        let batch = x.len() / (size[0] * size[1] * self.inputs);
        let blocks = grid.blocks(batch, PLANES * (tile_row(self.inputs) + tile_row(self.outputs)) * 4);
        let starts: Vec<usize> = blocks.iter().map(|block| grid.first_pixel(block.first)).collect();
        let pieces = finish.pieces(out, self.outputs, &starts);
        if PLANES * self.inputs * self.outputs * 4 > LARGE_FILTERS {
            self.by_planes(x, &grid, &blocks, pieces);
        } else {
            let jobs: Vec<_> = blocks.into_iter().zip(pieces).collect();
            jobs.into_par_iter().for_each(|(block, piece)| self.by_block(x, grid, block, piece));
        }
    }

    /// Everything for one block of tiles.
    fn by_block(&self, x: &[f32], grid: Grid, block: Block, piece: Piece<'_>) {
        let tiles = block.rows * grid.tiles[1];
        let steps = [plane(tiles, self.inputs), plane(tiles, self.outputs)];
        with_scratch(PLANES * (steps[0] + steps[1]), |scratch| {
            let (transformed, products) = scratch.split_at_mut(PLANES * steps[0]);
            transform_tiles(x, self.inputs, grid, block, transformed, steps[0]);
            let starts = [self.inputs, self.outputs].map(|channels| starts(tiles, channels));
            for plane in 0..PLANES {
                self.multiply(plane, &transformed[plane * steps[0]..], &mut products[plane * steps[1]..], &starts);
            }
            let source = Products { values: products, step: steps[1], first: 0 };
            Arch::new().dispatch(Outputs { source, channels: self.outputs, grid, block, piece });
        });
    }

    /// One step after the other for all tiles, each step in parallel.
    fn by_planes(&self, x: &[f32], grid: &Grid, blocks: &[Block], pieces: Vec<Piece<'_>>) {
        let across = grid.tiles[1];
        let total: usize = blocks.iter().map(|block| block.rows * across).sum();
        let largest = blocks[0].rows * across;
        let (step, chunk) = (plane(total, self.outputs), PLANES * plane(largest, self.inputs));
        with_scratch(blocks.len() * chunk + PLANES * step, |scratch| {
            let (transformed, products) = scratch.split_at_mut(blocks.len() * chunk);
            transformed.par_chunks_mut(chunk).zip(blocks).for_each(|(transformed, block)| {
                transform_tiles(x, self.inputs, *grid, *block, transformed, chunk / PLANES);
            });
            products.par_chunks_mut(step).enumerate().for_each(|(plane, products)| {
                for (transformed, block) in transformed.chunks(chunk).zip(blocks) {
                    let starts = [self.inputs, self.outputs].map(|channels| starts(block.rows * across, channels));
                    let products = &mut products[block.first * across * tile_row(self.outputs)..];
                    self.multiply(plane, &transformed[plane * chunk / PLANES..], products, &starts);
                }
            });
            let jobs: Vec<_> = blocks.iter().zip(pieces).collect();
            jobs.into_par_iter().for_each(|(block, piece)| {
                let source = Products { values: products, step, first: block.first * across };
                Arch::new().dispatch(Outputs { source, channels: self.outputs, grid: *grid, block: *block, piece });
            });
        });
    }

    /// `products[tile, output] = sum over inputs of transformed[tile, input] * filter[input, output]` of one plane.
    fn multiply(&self, plane: usize, transformed: &[f32], products: &mut [f32], starts: &[Vec<usize>; 2]) {
        let runs = [Run { offset: 0, length: self.inputs }];
        let rows = Rows { values: transformed, starts: &starts[0], runs: &runs };
        let target = Target { values: products, starts: &starts[1], accumulate: false, has_whole_panels: true };
        self.filters.multiply(plane, rows, target);
    }
}

fn starts(tiles: usize, channels: usize) -> Vec<usize> {
    (0..tiles).map(|tile| tile * tile_row(channels)).collect()
}
