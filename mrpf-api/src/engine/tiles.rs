//! Tiles of images for Winograd's filtering: how images are cut, and their way into the 36 planes and out of them.

use pulp::{Arch, Simd, WithSimd};

use super::finish::{self, Piece};
use super::product::PANEL;
use super::transform::{PLANES, Read, SIDE, Tile, Write, transform_gradient, transform_input, transform_output};
use super::vector::load;

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

/// Numbers between two planes beyond what they hold: planes a power of two apart would share one place in the cache.
pub(super) const GAP: usize = PANEL;

/// Numbers from one tile to the next in a plane: whole registers, so that none is read or written in part. What lies beyond the
/// channels is unspecified.
pub(super) fn tile_row(channels: usize) -> usize {
    channels.next_multiple_of(PANEL)
}

/// Numbers of a plane of so many tiles.
pub(super) fn plane(tiles: usize, channels: usize) -> usize {
    tiles * tile_row(channels) + GAP
}

/// Writes the transformed tiles of a block, `[36, tile, channel]`, with `step` from plane to plane and [`tile_row`] from tile to tile.
pub(super) fn transform_tiles(
    x: &[f32],
    channels: usize,
    grid: Grid,
    block: Block,
    transformed: &mut [f32],
    step: usize,
) {
    Arch::new().dispatch(Inputs { x, channels, grid, block, transformed, step, is_gradient: false });
}

/// Writes the transformed tiles of an output's gradient in the same way.
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
    Arch::new().dispatch(Inputs { x: gradient, channels, grid, block, transformed, step, is_gradient: true });
}

struct Inputs<'a> {
    x: &'a [f32],
    channels: usize,
    grid: Grid,
    block: Block,
    transformed: &'a mut [f32],
    step: usize,
    is_gradient: bool,
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, channels, grid, block, transformed, step, is_gradient } = self;
        let (planes, _) = S::as_mut_simd_f32s(transformed);
        let (row, step) = (tile_row(channels) / S::F32_LANES, step / S::F32_LANES);
        // Outside the loop, because clearing it takes longer than filling it.
        let mut half: Tile<S> = [simd.splat_f32s(0.0); PLANES];
        for tile in 0..block.rows * grid.tiles[1] {
            let window = Window::new(grid.tile(block, tile), &grid, channels);
            for (at, first) in (0..channels).step_by(S::F32_LANES).enumerate() {
                let pixels = Pixels { values: x, window: &window, first, lanes: S::F32_LANES.min(channels - first) };
                let mut to = Planes::<S> { values: &mut planes[tile * row + at..], step };
                match is_gradient {
                    true => transform_gradient(simd, &mut half, &pixels, &mut to),
                    false => transform_input(simd, &mut half, &pixels, &mut to),
                }
            }
        }
    }
}

/// Where the rows and columns of a tile begin; those outside the image lie beyond the end of any slice.
struct Window {
    rows: [usize; 6],
    columns: [usize; 6],
}

const OUTSIDE: usize = usize::MAX / 4;

impl Window {
    #[inline(always)]
    fn new([image, down, across]: [usize; 3], grid: &Grid, channels: usize) -> Self {
        let [height, width] = grid.size;
        let place = |axis: usize, tile: usize, at: usize| {
            // Below zero this becomes too large as well.
            (tile * SIDE + at).wrapping_sub(grid.padding[axis])
        };
        let (mut rows, mut columns) = ([OUTSIDE; 6], [OUTSIDE; 6]);
        for at in 0..6 {
            let (y, x) = (place(0, down, at), place(1, across, at));
            if y < height {
                rows[at] = (image * height + y) * width * channels;
            }
            if x < width {
                columns[at] = x * channels;
            }
        }
        Self { rows, columns }
    }
}

/// Where a tile's values of some channels are read.
struct Pixels<'a> {
    values: &'a [f32],
    window: &'a Window,
    first: usize,
    lanes: usize,
}

impl<S: Simd> Read<S> for Pixels<'_> {
    #[inline(always)]
    fn read(&self, simd: S, row: usize, column: usize) -> S::f32s {
        let at = self.window.rows[row] + self.window.columns[column] + self.first;
        let from = self.values.get(at..).unwrap_or_default();
        match S::as_simd_f32s(from).0.first() {
            Some(all) => *all,
            None if from.is_empty() => simd.splat_f32s(0.0),
            None => load(simd, from, self.lanes),
        }
    }
}

/// Where the transformed tile goes.
struct Planes<'a, S: Simd> {
    values: &'a mut [S::f32s],
    step: usize,
}

impl<S: Simd> Write<S> for Planes<'_, S> {
    #[inline(always)]
    fn write(&mut self, _: S, row: usize, column: usize, value: S::f32s) {
        self.values[(6 * row + column) * self.step] = value;
    }
}

/// Sums of a block, laid out as transformed tiles are, from tile `first` on.
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
        let (planes, _) = S::as_simd_f32s(self.source.values);
        let (row, step) = (tile_row(self.channels) / S::F32_LANES, self.source.step / S::F32_LANES);
        let whole = self.channels / S::F32_LANES;
        let mut half: Tile<S> = [simd.splat_f32s(0.0); PLANES];
        for tile in 0..self.block.rows * self.grid.tiles[1] {
            let [image, down, across] = self.grid.tile(self.block, tile);
            let sides = [SIDE.min(out_height - down * SIDE), SIDE.min(out_width - across * SIDE)];
            let corner = (image * out_height + down * SIDE) * out_width + across * SIDE - from;
            let sums = &planes[(self.source.first + tile) * row..];
            let mut place = Place { piece: &mut self.piece, corner, width: out_width, sides };
            for at in 0..whole {
                let sums = Sums::<S> { values: &sums[at..], step };
                output::<S, KIND>(simd, sums, at * S::F32_LANES, S::F32_LANES, &mut half, &mut place);
            }
            let first = whole * S::F32_LANES;
            if first < self.channels {
                let sums = Sums::<S> { values: &sums[whole..], step };
                output::<S, KIND>(simd, sums, first, self.channels - first, &mut half, &mut place);
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
fn output<S: Simd, const KIND: u8>(
    simd: S,
    sums: Sums<'_, S>,
    first: usize,
    lanes: usize,
    half: &mut Tile<S>,
    place: &mut Place<'_, '_>,
) {
    let bias = place.piece.bias(simd, first, lanes);
    transform_output(simd, half, &sums, &mut Finishing::<'_, '_, '_, S, KIND> { place, first, lanes, bias });
}

struct Sums<'a, S: Simd> {
    values: &'a [S::f32s],
    step: usize,
}

impl<S: Simd> Read<S> for Sums<'_, S> {
    #[inline(always)]
    fn read(&self, _: S, row: usize, column: usize) -> S::f32s {
        self.values[(6 * row + column) * self.step]
    }
}

struct Finishing<'a, 'b, 'c, S: Simd, const KIND: u8> {
    place: &'a mut Place<'b, 'c>,
    first: usize,
    lanes: usize,
    bias: S::f32s,
}

impl<S: Simd, const KIND: u8> Write<S> for Finishing<'_, '_, '_, S, KIND> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, column: usize, value: S::f32s) {
        let Place { corner, width, sides, .. } = *self.place;
        if row < sides[0] && column < sides[1] {
            let pixel = corner + row * width + column;
            self.place.piece.put::<S, KIND>(simd, pixel, self.first, self.lanes, value, self.bias);
        }
    }
}
