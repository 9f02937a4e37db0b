//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications in place of 144.
//!
//! Lavin and Gray 2016 (arXiv 1509.09308), section 4.2. A tile of 6x6 input pixels and a filter are both transformed to 36 numbers
//! a channel; for each of the 36 a matrix product over the channels follows, and each 6x6 of sums becomes 4x4 output
//! pixels. Images are `[height, width, channel]`, so that everything but the products runs along the channels. In f32 the result is
//! off by some 1e-5 of its size, ten times what the plain sum is.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::sync::Arc;

use super::finish::{self, Finish, Piece};
use super::memory::Memory;
use super::product::{PANEL, Panels, Rows, Run, Target};
use super::transform::{
    PLANES, Read, SIDE, Tile, Write, transform_filter, transform_gradient, transform_input, transform_output,
};
use super::vector::{load, store};
use crate::numeric::kernel::with_scratch;

/// Numbers between two planes beyond what they hold: planes a power of two apart would share one place in the cache.
const GAP: usize = PANEL;

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

    /// Convolves `x` `[batch, height, width, inputs]` into `out` `[batch, height', width', outputs]`.
    pub fn run(&self, x: &[f32], size: [usize; 2], out: &mut [f32], finish: Finish<'_>) {
        let grid = Grid::new(size, [0, 1].map(|axis| size[axis] + 2 * self.padding[axis] - 2), self.padding);
        let batch = x.len() / (size[0] * size[1] * self.inputs);
        let blocks = grid.blocks(batch, PLANES * (self.inputs + self.outputs) * 4);
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
        let steps = [tiles * self.inputs + GAP, tiles * self.outputs + GAP];
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
        let (step, chunk) = (total * self.outputs + GAP, PLANES * (largest * self.inputs + GAP));
        with_scratch(blocks.len() * chunk + PLANES * step, |scratch| {
            let (transformed, products) = scratch.split_at_mut(blocks.len() * chunk);
            transformed.par_chunks_mut(chunk).zip(blocks).for_each(|(transformed, block)| {
                transform_tiles(x, self.inputs, *grid, *block, transformed, chunk / PLANES);
            });
            products.par_chunks_mut(step).enumerate().for_each(|(plane, products)| {
                for (transformed, block) in transformed.chunks(chunk).zip(blocks) {
                    let starts = [self.inputs, self.outputs].map(|channels| starts(block.rows * across, channels));
                    let products = &mut products[block.first * across * self.outputs..];
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
        self.filters.multiply(plane, rows, Target { values: products, starts: &starts[1], accumulate: false });
    }
}

fn starts(tiles: usize, channels: usize) -> Vec<usize> {
    (0..tiles).map(|tile| tile * channels).collect()
}

/// How an image is cut into tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Height and width of what tiles are read from, and of what they make.
    pub size: [usize; 2],
    out_size: [usize; 2],
    padding: [usize; 2],
    /// Tiles above one another and beside one another in an image.
    pub tiles: [usize; 2],
}

impl Grid {
    pub fn new(size: [usize; 2], out_size: [usize; 2], padding: [usize; 2]) -> Self {
        Self { size, out_size, padding, tiles: out_size.map(|size| size.div_ceil(SIDE)) }
    }

    /// Blocks whose transformed tiles, of so many bytes each, stay in the second-level cache.
    pub fn blocks(&self, batch: usize, bytes_per_tile: usize) -> Vec<Block> {
        let rows = batch * self.tiles[0];
        let per_block = ((1 << 19) / bytes_per_tile).clamp(24, 96).div_ceil(self.tiles[1]);
        let firsts = (0..rows).step_by(per_block);
        firsts.map(|first| Block { first, rows: per_block.min(rows - first) }).collect()
    }

    /// Where the output of a row of tiles begins, in pixels from the first image's first.
    fn first_pixel(&self, row: usize) -> usize {
        (row / self.tiles[0] * self.out_size[0] + row % self.tiles[0] * SIDE) * self.out_size[1]
    }

    /// Image, row and column of a block's tile.
    #[inline(always)]
    fn tile(&self, block: Block, at: usize) -> [usize; 3] {
        let row = block.first + at / self.tiles[1];
        [row / self.tiles[0], row % self.tiles[0], at % self.tiles[1]]
    }
}

/// Rows of tiles that follow one another, through all images.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub first: usize,
    pub rows: usize,
}

/// Writes the transformed tiles of a block, `[36, tile, channel]`, with `step` from plane to plane.
pub(super) fn transform_tiles(
    x: &[f32],
    channels: usize,
    grid: Grid,
    block: Block,
    transformed: &mut [f32],
    step: usize,
) {
    Arch::new().dispatch(Inputs { x, channels, grid, block, transformed, step, side: 6 });
}

/// Writes the transformed tiles of an output's gradient, `[36, tile, channel]`, with `step` from plane to plane.
pub(super) fn transform_gradient_tiles(
    gradient: &[f32],
    channels: usize,
    grid: Grid,
    block: Block,
    transformed: &mut [f32],
    step: usize,
) {
    // Of a tile of six by six the last two rows and columns are not read.
    let grid = Grid { size: grid.out_size, padding: [0; 2], ..grid };
    Arch::new().dispatch(Inputs { x: gradient, channels, grid, block, transformed, step, side: SIDE });
}

struct Inputs<'a> {
    /// Rows and columns of a tile: six, or four of a gradient.
    side: usize,
    x: &'a [f32],
    channels: usize,
    grid: Grid,
    block: Block,
    transformed: &'a mut [f32],
    step: usize,
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, channels, grid, block, transformed, step, side } = self;
        let [height, width] = grid.size;
        let whole = channels / S::F32_LANES * S::F32_LANES;
        // Outside the loop, because clearing it takes longer than filling it.
        let mut values: Tile<S> = [simd.splat_f32s(0.0); PLANES];
        for tile in 0..block.rows * grid.tiles[1] {
            let [image, down, across] = grid.tile(block, tile);
            let image = &x[image * height * width * channels..][..height * width * channels];
            let corner = [down * SIDE, across * SIDE];
            let window = Window::new(corner, &grid, channels, side);
            let to = &mut transformed[tile * channels..];
            for first in (0..whole).step_by(S::F32_LANES) {
                input::<S, true>(simd, image, &window, first, S::F32_LANES, &mut values, to, step);
            }
            if whole < channels {
                input::<S, false>(simd, image, &window, whole, channels - whole, &mut values, to, step);
            }
        }
    }
}

/// The part of a tile of 6x6 pixels that lies inside the image.
struct Window {
    side: usize,
    /// The first and the last but one row and column inside, counted in the tile.
    rows: [usize; 2],
    columns: [usize; 2],
    /// Where the first pixel inside lies, and how far apart rows and columns are.
    start: usize,
    row_step: usize,
    column_step: usize,
}

impl Window {
    #[inline(always)]
    fn new(corner: [usize; 2], grid: &Grid, channels: usize, side: usize) -> Self {
        let mut inside = [[0; 2]; 2];
        for axis in 0..2 {
            let start = grid.padding[axis].saturating_sub(corner[axis]);
            let end = (grid.size[axis] + grid.padding[axis]).saturating_sub(corner[axis]).min(side);
            inside[axis] = [start, end.max(start)];
        }
        let row = corner[0] + inside[0][0] - grid.padding[0];
        let column = corner[1] + inside[1][0] - grid.padding[1];
        let row_step = grid.size[1] * channels;
        let start = row * row_step + column * channels;
        Self { side, rows: inside[0], columns: inside[1], start, row_step, column_step: channels }
    }
}

#[inline(always)]
fn input<S: Simd, const FULL: bool>(
    simd: S,
    image: &[f32],
    window: &Window,
    first: usize,
    lanes: usize,
    half: &mut Tile<S>,
    to: &mut [f32],
    step: usize,
) {
    let lanes = if FULL { S::F32_LANES } else { lanes };
    let pixels = Pixels { values: &image[window.start + first..], window, lanes };
    let mut to = Planes { values: to, step, first, lanes };
    let is_whole = window.rows == [0, window.side] && window.columns == [0, window.side];
    match (window.side, is_whole) {
        (SIDE, true) => transform_gradient(simd, half, &Whole(pixels), &mut to),
        (SIDE, false) => transform_gradient(simd, half, &pixels, &mut to),
        (_, true) => transform_input(simd, half, &Whole(pixels), &mut to),
        (_, false) => transform_input(simd, half, &pixels, &mut to),
    }
}

/// Where a tile is read: from its first pixel inside the image on.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    values: &'a [f32],
    window: &'a Window,
    lanes: usize,
}

/// The same for a tile that lies inside as a whole.
struct Whole<'a>(Pixels<'a>);

impl<S: Simd> Read<S> for Whole<'_> {
    #[inline(always)]
    fn read(&self, simd: S, row: usize, column: usize) -> S::f32s {
        let Window { row_step, column_step, .. } = self.0.window;
        load(simd, &self.0.values[row * row_step + column * column_step..], self.0.lanes)
    }
}

impl<S: Simd> Read<S> for Pixels<'_> {
    #[inline(always)]
    fn read(&self, simd: S, row: usize, column: usize) -> S::f32s {
        let Window { rows, columns, .. } = self.window;
        match row >= rows[0] && row < rows[1] && column >= columns[0] && column < columns[1] {
            true => Whole(*self).read(simd, row - rows[0], column - columns[0]),
            false => simd.splat_f32s(0.0),
        }
    }
}

/// Where the transformed tile goes.
struct Planes<'a> {
    values: &'a mut [f32],
    step: usize,
    first: usize,
    lanes: usize,
}

impl<S: Simd> Write<S> for Planes<'_> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, column: usize, value: S::f32s) {
        store(simd, &mut self.values[(6 * row + column) * self.step + self.first..], value, self.lanes);
    }
}

/// Sums of a block, `[36, tile, channel]` with `step` from plane to plane, from tile `first` on.
struct Products<'a> {
    values: &'a [f32],
    step: usize,
    first: usize,
}

struct Outputs<'a> {
    source: Products<'a>,
    channels: usize,
    grid: Grid,
    block: Block,
    piece: Piece<'a>,
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // What is known when compiling need not be asked for each pixel.
        match self.piece.kind() {
            finish::NOTHING => self.run::<S, { finish::NOTHING }>(simd),
            finish::BIAS_RELU => self.run::<S, { finish::BIAS_RELU }>(simd),
            finish::BIAS_OTHER_RELU => self.run::<S, { finish::BIAS_OTHER_RELU }>(simd),
            finish::PASSED => self.run::<S, { finish::PASSED }>(simd),
            finish::ACCUMULATE_PASSED => self.run::<S, { finish::ACCUMULATE_PASSED }>(simd),
            _ => self.run::<S, { finish::ANYTHING }>(simd),
        }
    }
}

impl Outputs<'_> {
    #[inline(always)]
    fn run<S: Simd, const KIND: u8>(mut self, simd: S) {
        let from = self.grid.first_pixel(self.block.first);
        let [out_height, out_width] = self.grid.out_size;
        let whole = self.channels / S::F32_LANES * S::F32_LANES;
        let mut values: Tile<S> = [simd.splat_f32s(0.0); PLANES];
        for tile in 0..self.block.rows * self.grid.tiles[1] {
            let [image, down, across] = self.grid.tile(self.block, tile);
            let sides = [SIDE.min(out_height - down * SIDE), SIDE.min(out_width - across * SIDE)];
            let corner = (image * out_height + down * SIDE) * out_width + across * SIDE - from;
            let sums = &self.source.values[(self.source.first + tile) * self.channels..];
            let mut place = Place { piece: &mut self.piece, corner, width: out_width, sides };
            for first in (0..whole).step_by(S::F32_LANES) {
                output::<S, true, KIND>(simd, sums, self.source.step, first, S::F32_LANES, &mut values, &mut place);
            }
            if whole < self.channels {
                output::<S, false, KIND>(simd, sums, self.source.step, whole, self.channels - whole, &mut values, &mut place);
            }
        }
    }
}

/// Where the pixels of a tile go.
struct Place<'a, 'b> {
    piece: &'a mut Piece<'b>,
    corner: usize,
    width: usize,
    /// Rows and columns that lie inside the output.
    sides: [usize; 2],
}

#[inline(always)]
fn output<S: Simd, const FULL: bool, const KIND: u8>(
    simd: S,
    sums: &[f32],
    step: usize,
    first: usize,
    lanes: usize,
    half: &mut Tile<S>,
    place: &mut Place<'_, '_>,
) {
    let lanes = if FULL { S::F32_LANES } else { lanes };
    let sums = Sums { values: &sums[first..], step, lanes };
    transform_output(simd, half, &sums, &mut Finishing::<'_, '_, '_, KIND> { place, first, lanes });
}

struct Sums<'a> {
    values: &'a [f32],
    step: usize,
    lanes: usize,
}

impl<S: Simd> Read<S> for Sums<'_> {
    #[inline(always)]
    fn read(&self, simd: S, row: usize, column: usize) -> S::f32s {
        load(simd, &self.values[(6 * row + column) * self.step..], self.lanes)
    }
}

struct Finishing<'a, 'b, 'c, const KIND: u8> {
    place: &'a mut Place<'b, 'c>,
    first: usize,
    lanes: usize,
}

impl<S: Simd, const KIND: u8> Write<S> for Finishing<'_, '_, '_, KIND> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, column: usize, value: S::f32s) {
        let Place { corner, width, sides, .. } = *self.place;
        if row < sides[0] && column < sides[1] {
            self.place.piece.put::<S, KIND>(simd, corner + row * width + column, self.first, self.lanes, value);
        }
    }
}
