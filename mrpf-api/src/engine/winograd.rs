//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3): 36 multiplications in place of 144.
//!
//! Lavin and Gray 2016 (arXiv 1509.09308), section 4.2. A tile of 6x6 input pixels and a filter are both transformed to 36 numbers
//! a channel; for each of the 36 a matrix product over the channels follows, and each 6x6 of sums becomes 4x4 output
//! pixels. Images are `[height, width, channel]`, so that everything but the products runs along the channels. In f32 the result is
//! off by some 1e-5 of its size, ten times what the plain sum is.

use pulp::Arch;
use rayon::prelude::*;

use super::finish::{Finish, Piece};
use crate::numeric::kernel::{Matrix, Onto, product, with_scratch};

/// Channels that are transformed together.
pub(super) const LANES: usize = 16;
/// Transformed values of a tile.
const PLANES: usize = 36;
/// Rows and columns of output that a tile makes.
const SIDE: usize = 4;

pub(super) type Lane = [f32; LANES];

/// A convolution `[height, width, inputs]` to `[height', width', outputs]` with its filters transformed.
#[derive(Debug)]
pub(super) struct Winograd {
    inputs: usize,
    outputs: usize,
    padding: [usize; 2],
    /// `[36, inputs, outputs]`.
    filters: Vec<f32>,
}

/// Sizes of one run.
#[derive(Clone, Copy)]
struct Extent {
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
    /// Tiles above one another and beside one another in an image.
    tiles: [usize; 2],
}

impl Winograd {
    /// Whether fewer multiplications are left than the plain sum has, by enough to pay for the transforms.
    pub fn pays(inputs: usize, outputs: usize, out: [usize; 2]) -> bool {
        let tiles = out[0].div_ceil(SIDE) * out[1].div_ceil(SIDE);
        inputs.min(outputs) >= 8 && PLANES * tiles * 2 <= 9 * out[0] * out[1]
    }

    /// Transforms filters; `filter(output, input)` gives the nine weights of one, row by row.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        padding: [usize; 2],
        filter: impl Fn(usize, usize) -> [f32; 9] + Sync,
    ) -> Self {
        let mut by_input = vec![0.0; inputs * PLANES * outputs];
        by_input.par_chunks_mut(PLANES * outputs).enumerate().for_each(|(input, planes)| {
            for output in 0..outputs {
                let transformed = transform_filter(filter(output, input));
                transformed.iter().enumerate().for_each(|(plane, value)| planes[plane * outputs + output] = *value);
            }
        });
        // From `[inputs, 36, outputs]` to `[36, inputs, outputs]`.
        let mut filters = vec![0.0; by_input.len()];
        filters.par_chunks_mut(inputs * outputs).enumerate().for_each(|(plane, rows)| {
            for (input, row) in rows.chunks_mut(outputs).enumerate() {
                row.copy_from_slice(&by_input[(input * PLANES + plane) * outputs..][..outputs]);
            }
        });
        Self { inputs, outputs, padding, filters }
    }

    /// Convolves `x` `[batch, height, width, inputs]` into `out` `[batch, height', width', outputs]`.
    pub fn run(&self, x: &[f32], [height, width]: [usize; 2], out: &mut [f32], finish: Finish<'_>) {
        let (out_height, out_width) = (height + 2 * self.padding[0] - 2, width + 2 * self.padding[1] - 2);
        let tiles = [out_height.div_ceil(SIDE), out_width.div_ceil(SIDE)];
        let extent = Extent { height, width, out_height, out_width, tiles };
        let batch = x.len() / (height * width * self.inputs);
        let rows = batch * tiles[0];
        // Transformed tiles of a block, and their products, shall stay in the second-level cache.
        let per_tile = PLANES * (self.inputs + self.outputs) * 4;
        let rows_per_block = ((1 << 20) / per_tile).clamp(24, 128).div_ceil(tiles[1]);
        let blocks = Block::all(rows, rows_per_block);
        let starts = blocks.iter().map(|block| extent.first_pixel(block.first));
        let pieces = finish.pieces(out, self.outputs, starts.collect());
        // Filters that fill the cache by themselves are read once for all tiles; others with each block of tiles.
        if PLANES * self.inputs * self.outputs * 4 > 3 << 20 {
            self.by_planes(x, &extent, &blocks, pieces);
        } else {
            let jobs: Vec<_> = blocks.into_iter().zip(pieces).collect();
            jobs.into_par_iter().for_each(|(block, piece)| self.by_block(x, &extent, block, piece));
        }
    }

    /// Everything for one block of tiles.
    fn by_block(&self, x: &[f32], extent: &Extent, block: Block, piece: Piece<'_>) {
        let tiles = block.rows * extent.tiles[1];
        with_scratch(PLANES * tiles * (self.inputs + self.outputs), |scratch| {
            let (transformed, products) = scratch.split_at_mut(PLANES * tiles * self.inputs);
            self.transform_inputs(x, extent, block, transformed);
            for (plane, out) in products.chunks_mut(tiles * self.outputs).enumerate() {
                self.multiply(plane, &transformed[plane * tiles * self.inputs..], tiles, out);
            }
            self.transform_outputs(products, tiles, 0, extent, block, piece);
        });
    }

    /// One step after the other for all tiles, each step in parallel.
    fn by_planes(&self, x: &[f32], extent: &Extent, blocks: &[Block], pieces: Vec<Piece<'_>>) {
        let across = extent.tiles[1];
        let total: usize = blocks.iter().map(|block| block.rows * across).sum();
        let largest = blocks[0].rows * across;
        with_scratch(PLANES * total * (self.inputs + self.outputs), |scratch| {
            let (transformed, products) = scratch.split_at_mut(PLANES * total * self.inputs);
            let of_blocks = transformed.par_chunks_mut(PLANES * largest * self.inputs).zip(blocks);
            of_blocks.for_each(|(transformed, block)| self.transform_inputs(x, extent, *block, transformed));
            products.par_chunks_mut(total * self.outputs).enumerate().for_each(|(plane, products)| {
                let of_blocks = transformed.chunks(PLANES * largest * self.inputs).zip(blocks);
                for ((transformed, block), out) in of_blocks.zip(products.chunks_mut(largest * self.outputs)) {
                    let tiles = block.rows * across;
                    self.multiply(plane, &transformed[plane * tiles * self.inputs..], tiles, out);
                }
            });
            let jobs: Vec<_> = blocks.iter().zip(pieces).collect();
            jobs.into_par_iter().for_each(|(block, piece)| {
                self.transform_outputs(products, total, block.first * across, extent, *block, piece);
            });
        });
    }

    /// `out[tile, output] = sum over inputs of transformed[tile, input] * filter[input, output]` of one plane.
    fn multiply(&self, plane: usize, transformed: &[f32], tiles: usize, out: &mut [f32]) {
        let left = Matrix::new(transformed, [tiles, self.inputs], self.inputs);
        let filters = &self.filters[plane * self.inputs * self.outputs..];
        product(out, Onto::Nothing, left, Matrix::new(filters, [self.inputs, self.outputs], self.outputs));
    }

    /// Writes `[36, tiles, inputs]`.
    fn transform_inputs(&self, x: &[f32], extent: &Extent, block: Block, transformed: &mut [f32]) {
        let plane = block.rows * extent.tiles[1] * self.inputs;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let (mut values, mut half): (Tile, Tile) = ([[0.0; LANES]; PLANES], [[0.0; LANES]; PLANES]);
                for tile in 0..block.rows * extent.tiles[1] {
                    let [image, down, across] = block.tile(tile, extent);
                    let image = &x[image * extent.height * extent.width * self.inputs..];
                    let corner = [
                        (down * SIDE) as isize - self.padding[0] as isize,
                        (across * SIDE) as isize - self.padding[1] as isize,
                    ];
                    for first in (0..self.inputs).step_by(LANES) {
                        let lanes = LANES.min(self.inputs - first);
                        load(image, extent, self.inputs, corner, [first, lanes], &mut values);
                        transform_input(&mut values, &mut half);
                        for (at, value) in values.iter().enumerate() {
                            write(&mut transformed[at * plane + tile * self.inputs + first..], value, lanes);
                        }
                    }
                }
            },
        );
    }

    /// Reads `[36, all tiles, outputs]` from tile `offset` on and writes the block's piece of the output.
    fn transform_outputs(
        &self,
        products: &[f32],
        all: usize,
        offset: usize,
        extent: &Extent,
        block: Block,
        mut piece: Piece<'_>,
    ) {
        let from = extent.first_pixel(block.first);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let (mut values, mut half): (Tile, Tile) = ([[0.0; LANES]; PLANES], [[0.0; LANES]; PLANES]);
                for tile in 0..block.rows * extent.tiles[1] {
                    let [image, down, across] = block.tile(tile, extent);
                    let rows = SIDE.min(extent.out_height - down * SIDE);
                    let columns = SIDE.min(extent.out_width - across * SIDE);
                    let corner = (image * extent.out_height + down * SIDE) * extent.out_width + across * SIDE - from;
                    for first in (0..self.outputs).step_by(LANES) {
                        let lanes = LANES.min(self.outputs - first);
                        for (at, value) in values.iter_mut().enumerate() {
                            *value = read(&products[(at * all + offset + tile) * self.outputs + first..], lanes);
                        }
                        transform_output(&mut values, &mut half);
                        for row in 0..rows {
                            for column in 0..columns {
                                let place = (corner + row * extent.out_width + column) * self.outputs + first;
                                piece.put(place, &values[6 * row + column], lanes);
                            }
                        }
                    }
                }
                piece.finish(self.outputs);
            },
        );
    }
}

/// Rows of tiles that follow one another, through all images.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    rows: usize,
}

impl Block {
    fn all(rows: usize, per_block: usize) -> Vec<Self> {
        let firsts = (0..rows).step_by(per_block);
        firsts.map(|first| Self { first, rows: per_block.min(rows - first) }).collect()
    }

    /// `[image, row of tiles, column of tiles]` of a tile.
    #[inline(always)]
    fn tile(self, at: usize, extent: &Extent) -> [usize; 3] {
        let [down, across] = extent.tiles;
        let row = self.first + at / across;
        [row / down, row % down, at % across]
    }
}

impl Extent {
    /// Where the output of a row of tiles begins, in pixels from the first image's first.
    fn first_pixel(&self, row: usize) -> usize {
        (row / self.tiles[0] * self.out_height + row % self.tiles[0] * SIDE) * self.out_width
    }
}

/// The 6x6 pixels from `corner` on, zeros outside the image.
#[inline(always)]
fn load(
    image: &[f32],
    extent: &Extent,
    channels: usize,
    corner: [isize; 2],
    [first, lanes]: [usize; 2],
    tile: &mut Tile,
) {
    for row in 0..6 {
        let y = corner[0] + row as isize;
        for column in 0..6 {
            let x = corner[1] + column as isize;
            let inside = y >= 0 && x >= 0 && y < extent.height as isize && x < extent.width as isize;
            tile[6 * row + column] = match inside {
                true => read(&image[(y as usize * extent.width + x as usize) * channels + first..], lanes),
                false => [0.0; LANES],
            };
        }
    }
}

/// The first `lanes` numbers; almost always all of them, which then is one load.
#[inline(always)]
fn read(from: &[f32], lanes: usize) -> Lane {
    let mut lane = [0.0; LANES];
    match from.first_chunk::<LANES>() {
        Some(all) if lanes == LANES => lane = *all,
        _ => lane[..lanes].copy_from_slice(&from[..lanes]),
    }
    lane
}

/// Writes the first `lanes` numbers.
#[inline(always)]
fn write(to: &mut [f32], lane: &Lane, lanes: usize) {
    match to.first_chunk_mut::<LANES>() {
        Some(all) if lanes == LANES => *all = *lane,
        _ => to[..lanes].copy_from_slice(&lane[..lanes]),
    }
}

/// Pixels or transformed values of a tile, six rows of six.
type Tile = [Lane; PLANES];

/// `B^T d` of the six values from `first` on that lie `step` apart.
#[inline(always)]
fn input_side(d: &Tile, first: usize, step: usize, out: &mut Tile) {
    for lane in 0..LANES {
        let (d0, d1, d2) = (d[first][lane], d[first + step][lane], d[first + 2 * step][lane]);
        let (d3, d4, d5) = (d[first + 3 * step][lane], d[first + 4 * step][lane], d[first + 5 * step][lane]);
        let (even, odd) = (d4 - 4.0 * d2, d3 - 4.0 * d1);
        let (near, far) = (d4 - d2, 2.0 * (d3 - d1));
        out[first][lane] = 4.0 * d0 - 5.0 * d2 + d4;
        out[first + step][lane] = even + odd;
        out[first + 2 * step][lane] = even - odd;
        out[first + 3 * step][lane] = near + far;
        out[first + 4 * step][lane] = near - far;
        out[first + 5 * step][lane] = 4.0 * d1 - 5.0 * d3 + d5;
    }
}

/// `A^T m` of the six values from `first` on that lie `step` apart; the first four places take it.
#[inline(always)]
fn output_side(m: &Tile, first: usize, step: usize, out: &mut Tile) {
    for lane in 0..LANES {
        let (m0, m1, m2) = (m[first][lane], m[first + step][lane], m[first + 2 * step][lane]);
        let (m3, m4, m5) = (m[first + 3 * step][lane], m[first + 4 * step][lane], m[first + 5 * step][lane]);
        let (near, far) = (m1 + m2, m3 + m4);
        let (near_odd, far_odd) = (m1 - m2, m3 - m4);
        out[first][lane] = m0 + near + far;
        out[first + step][lane] = near_odd + 2.0 * far_odd;
        out[first + 2 * step][lane] = near + 4.0 * far;
        out[first + 3 * step][lane] = near_odd + 8.0 * far_odd + m5;
    }
}

/// `B^T d B`, in place.
#[inline(always)]
fn transform_input(d: &mut Tile, half: &mut Tile) {
    for column in 0..6 {
        input_side(d, column, 6, half);
    }
    for row in 0..6 {
        input_side(half, 6 * row, 1, d);
    }
}

/// `A^T m A`, in place; of its six rows of six the first four hold it.
#[inline(always)]
fn transform_output(m: &mut Tile, half: &mut Tile) {
    for column in 0..6 {
        output_side(m, column, 6, half);
    }
    for row in 0..4 {
        output_side(half, 6 * row, 1, m);
    }
}

/// `G g G^T`.
fn transform_filter(g: [f32; 9]) -> [f32; PLANES] {
    let side = |g: [f32; 3]| {
        let (even, odd) = (g[0] + g[2], g[1]);
        let (far_even, far_odd) = (g[0] + 4.0 * g[2], 2.0 * g[1]);
        [
            g[0] / 4.0,
            -(even + odd) / 6.0,
            -(even - odd) / 6.0,
            (far_even + far_odd) / 24.0,
            (far_even - far_odd) / 24.0,
            g[2],
        ]
    };
    let columns = [0, 1, 2].map(|column| side([g[column], g[3 + column], g[6 + column]]));
    let mut out = [0.0; PLANES];
    for row in 0..6 {
        out[row * 6..][..6].copy_from_slice(&side(columns.map(|column| column[row])));
    }
    out
}
