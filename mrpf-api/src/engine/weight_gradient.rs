//! The gradient by a convolution's weight.

use pulp::Arch;
use rayon::prelude::*;
use std::sync::Arc;

use super::convolution::Shape;
use super::depthwise;
use super::memory::Memory;
use super::product::{PANEL, PanelRow};
use super::tiles::{Block, Grid, plane, tile_row, transform_gradient_tiles, transform_tiles};
use super::transform::{PLANES, transform_weight_gradient};
use super::winograd::Winograd;
use crate::numeric::kernel::{Matrix, Onto, product, with_scratch};

/// Bytes of transformed tiles that are worked on together.
const TOGETHER: usize = 16 << 20;
/// Tiles of a block.
const TILES: usize = 128;
/// Pixels of a block whose windows are gathered, at least.
const PIXELS: usize = 240;

/// Gradient `[out, in / groups, kernel height, kernel width]` from `x` `[batch, height, width, in]` and the output's gradient
/// `[batch, height', width', out]`.
pub(super) fn weight_gradient(memory: &Arc<Memory>, shape: &Shape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    if shape.is_depthwise() {
        return depthwise::weight_gradient(shape, x, gradient);
    }
    let few = shape.inputs.min(shape.outputs) < 8;
    match !few && shape.fits_winograd() && Winograd::pays(shape.inputs, shape.outputs, shape.out_size) {
        true => by_tiles(memory, shape, x, gradient),
        false => by_windows(shape, x, gradient),
    }
}

/// Winograd's filtering the other way: input and gradient are transformed, summed over all tiles in each of the 36 planes, and the
/// sums transformed to weights. As many multiplications as the convolution itself.
fn by_tiles(memory: &Arc<Memory>, shape: &Shape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (shape.inputs, shape.outputs);
    let grid = Grid::new(shape.size, shape.out_size, shape.geometry.padding);
    let batch = x.len() / (shape.size[0] * shape.size[1] * inputs);
    let [down, across] = grid.tiles;
    let rows_per_block = TILES.div_ceil(across).min(batch * down);
    let blocks: Vec<Block> = (0..batch * down)
        .step_by(rows_per_block)
        .map(|first| Block { first, rows: rows_per_block.min(batch * down - first) })
        .collect();
    let steps = [inputs, outputs].map(|channels| plane(rows_per_block * across, channels));
    let of_block = PLANES * (steps[0] + steps[1]);
    let together = (TOGETHER / (4 * of_block)).max(1);
    let mut sums = memory.take(PLANES * inputs * outputs);
    let mut transformed = memory.take(of_block * together.min(blocks.len()));
    for (part, blocks) in blocks.chunks(together).enumerate() {
        transformed.par_chunks_mut(of_block).zip(blocks).for_each(|(transformed, block)| {
            let (of_x, of_gradient) = transformed.split_at_mut(PLANES * steps[0]);
            transform_tiles(x, inputs, grid, *block, of_x, steps[0]);
            transform_gradient_tiles(gradient, outputs, grid, *block, of_gradient, steps[1]);
        });
        sums.par_chunks_mut(inputs * outputs).enumerate().for_each(|(plane, sums)| {
            for (at, (block, transformed)) in blocks.iter().zip(transformed.chunks(of_block)).enumerate() {
                let tiles = block.rows * across;
                let of_x = Matrix::new(&transformed[plane * steps[0]..], [tiles, inputs], tile_row(inputs));
                let of_gradient = &transformed[PLANES * steps[0] + plane * steps[1]..];
                let of_gradient = Matrix::new(of_gradient, [tiles, outputs], tile_row(outputs));
                let onto = if part + at == 0 { Onto::Nothing } else { Onto::Present };
                product(sums, onto, of_x.transposed(), of_gradient);
            }
        });
    }
    let mut out = vec![0.0; outputs * inputs * 9];
    out.par_chunks_mut(PANEL * inputs * 9).enumerate().for_each(|(panel, out)| {
        let (first, lanes) = (panel * PANEL, out.len() / (inputs * 9));
        for input in 0..inputs {
            let mut planes = [PanelRow::default(); PLANES];
            for (plane, values) in planes.iter_mut().enumerate() {
                values[..lanes].copy_from_slice(&sums[(plane * inputs + input) * outputs + first..][..lanes]);
            }
            let nine = transform_weight_gradient(&planes);
            for lane in 0..lanes {
                let to = &mut out[(lane * inputs + input) * 9..][..9];
                to.iter_mut().zip(&nine).for_each(|(to, values)| *to = values[lane]);
            }
        }
    });
    out
}

/// A matrix product of all windows with the gradient. The batch is cut into a few parts, the same on any machine, whose sums are
/// added in their order.
fn by_windows(shape: &Shape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (inputs, outputs, kernel) = (shape.inputs, shape.outputs, shape.geometry.kernel);
    let pixels = shape.out_size[0] * shape.out_size[1];
    let batch = gradient.len() / (pixels * outputs);
    // A kernel's rows are worked on one by one.
    let row = kernel[1] * inputs;
    let parts = ((8 << 20) / (4 * kernel[0] * row * outputs)).clamp(2, 8).min(batch);
    let share = batch.div_ceil(parts);
    let jobs: Vec<[usize; 2]> =
        (0..batch).step_by(share).flat_map(|image| (0..kernel[0]).map(move |row| [image, row])).collect();
    let sum_of = |&[first, kernel_row]: &[usize; 2]| {
        let mut sum = vec![0.0; row * outputs];
        let images = PIXELS.div_ceil(pixels);
        let mut onto = Onto::Nothing;
        for image in (first..(first + share).min(batch)).step_by(images) {
            let count = images.min((first + share).min(batch) - image);
            let gradient = &gradient[image * pixels * outputs..][..count * pixels * outputs];
            let gradient = Matrix::new(gradient, [count * pixels, outputs], outputs);
            with_scratch(count * pixels * row, |windows| {
                gather(shape, x, image, kernel_row, windows);
                product(&mut sum, onto, Matrix::new(windows, [count * pixels, row], row).transposed(), gradient);
            });
            onto = Onto::Present;
        }
        sum
    };
    let sums: Vec<Vec<f32>> = jobs.par_iter().map(sum_of).collect();
    let taps = kernel[0] * kernel[1];
    let mut out = vec![0.0; outputs * inputs * taps];
    out.par_chunks_mut(inputs * taps).enumerate().for_each(|(output, out)| {
        for ([_, kernel_row], sum) in jobs.iter().zip(&sums) {
            for (at, values) in sum.chunks_exact(outputs).enumerate() {
                let (column, input) = (at / inputs, at % inputs);
                out[input * taps + kernel_row * kernel[1] + column] += values[output];
            }
        }
    });
    out
}

/// The row `kernel_row` of each output pixel's window, from image `image` on.
fn gather(shape: &Shape, x: &[f32], image: usize, kernel_row: usize, windows: &mut [f32]) {
    let (inputs, [height, width], [out_height, out_width]) = (shape.inputs, shape.size, shape.out_size);
    let geometry = &shape.geometry;
    let row = geometry.kernel[1] * inputs;
    for (at, rows) in windows.chunks_exact_mut(out_width * row).enumerate() {
        let (image, down) = (image + at / out_height, at % out_height);
        let y = (down * geometry.stride[0] + kernel_row).checked_sub(geometry.padding[0]).filter(|y| *y < height);
        let Some(y) = y else {
            rows.fill(0.0);
            continue;
        };
        let x = &x[(image * height + y) * width * inputs..][..width * inputs];
        for (across, window) in rows.chunks_exact_mut(row).enumerate() {
            // Columns of the window that lie inside: from `start` of the window on, `count` of them.
            let left = across * geometry.stride[1];
            let start = geometry.padding[1].saturating_sub(left).min(geometry.kernel[1]);
            let end = (width + geometry.padding[1]).saturating_sub(left).min(geometry.kernel[1]).max(start);
            window[..start * inputs].fill(0.0);
            window[end * inputs..].fill(0.0);
            if start < end {
                let from = (left + start - geometry.padding[1]) * inputs;
                window[start * inputs..end * inputs].copy_from_slice(&x[from..][..(end - start) * inputs]);
            }
        }
    }
}

/// Sum over all pixels, of each channel: the gradient by a bias.
pub(super) fn bias_gradient(gradient: &[f32], channels: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 14;
    let sums = gradient.par_chunks(CHUNK.div_ceil(channels) * channels).map(|gradient| {
        let mut sum = vec![0.0f32; channels];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for pixel in gradient.chunks_exact(channels) {
                    for (sum, value) in sum.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
            },
        );
        sum
    });
    let mut total = vec![0.0f64; channels];
    for sum in sums.collect::<Vec<_>>() {
        total.iter_mut().zip(sum).for_each(|(total, sum)| *total += f64::from(sum));
    }
    total.into_iter().map(|total| total as f32).collect()
}
