//! Tiles of images for Winograd's filtering: how images are cut, and their way into the 36 planes and out of them.

use pulp::{Arch, Simd, WithSimd};

use super::finish::{self, Piece};
use super::transform::{PLANES, Read, SIDE, Tile, Write, transform_gradient, transform_input, transform_output};
use super::vector::{load, store};

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
    pub fn first_pixel(&self, row: usize) -> usize {
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
                let to = Planes { values: to, step, first, lanes: S::F32_LANES };
                input::<S, true>(simd, image, &window, &mut values, to);
            }
            if whole < channels {
                let to = Planes { values: to, step, first: whole, lanes: channels - whole };
                input::<S, false>(simd, image, &window, &mut values, to);
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
fn input<S: Simd, const FULL: bool>(simd: S, image: &[f32], window: &Window, half: &mut Tile<S>, mut to: Planes<'_>) {
    if FULL {
        to.lanes = S::F32_LANES;
    }
    let pixels = Pixels { values: &image[window.start + to.first..], window, lanes: to.lanes };
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
pub(super) struct Products<'a> {
    pub values: &'a [f32],
    pub step: usize,
    pub first: usize,
}

/// Makes pixels of the sums and finishes them.
pub(super) struct Outputs<'a> {
    pub source: Products<'a>,
    pub channels: usize,
    pub grid: Grid,
    pub block: Block,
    pub piece: Piece<'a>,
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
                output::<S, false, KIND>(
                    simd,
                    sums,
                    self.source.step,
                    whole,
                    self.channels - whole,
                    &mut values,
                    &mut place,
                );
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
