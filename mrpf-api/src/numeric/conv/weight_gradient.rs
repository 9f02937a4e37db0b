//! The gradients by the weight and the bias.

use rayon::prelude::*;
use std::ops::Range;

use super::super::float::{Float, sum_of};
use super::super::gemm::{Matrix, Onto, product};
use super::columns::gather;
use super::shape::{ConvShape, Tiling};

/// Fewer input channels than this are not worth reading the output's gradient once more.
const SMALLEST_BLOCK: usize = 16;

/// Gradient `[out, in / groups, kernel height, kernel width]` from the output's gradient
/// `[batch, out, height', width']`.
///
/// The batch is cut into a few parts, the same on any machine; each sums its tiles in their order, then the parts are
/// summed in theirs.
pub(super) fn weight_gradient<T: Float>(shape: &ConvShape, images: &[T], gradient: &[T]) -> Vec<T> {
    let tiling = shape.tiling();
    let image_blocks: Vec<_> = tiling.blocks().collect();
    let parts = shape.parts(image_blocks.len());
    let block = shape.channel_block(shape.in_channels, parts * shape.groups, SMALLEST_BLOCK);
    let channel_blocks = shape.in_channels.div_ceil(block);
    let tasks: Vec<Task> = (0..parts * shape.groups * channel_blocks)
        .map(|at| {
            let (part, at) = (at / (shape.groups * channel_blocks), at % (shape.groups * channel_blocks));
            let (group, at) = (at / channel_blocks, at % channel_blocks);
            Task { part, group, channels: at * block..((at + 1) * block).min(shape.in_channels) }
        })
        .collect();
    let share = image_blocks.len().div_ceil(parts);
    let shares: Vec<Vec<T>> = tasks
        .par_iter()
        .map(|task| {
            let blocks = image_blocks.chunks(share).nth(task.part).unwrap_or(&[]);
            task.run(shape, &tiling, blocks, images, gradient)
        })
        .collect();
    sum(shape, &tasks, &shares)
}

/// A block of input channels of one group, over one part of the batch.
struct Task {
    part: usize,
    group: usize,
    channels: Range<usize>,
}

impl Task {
    /// This task's share `[out channels of the group, channels * taps]`.
    fn run<T: Float>(
        &self,
        shape: &ConvShape,
        tiling: &Tiling,
        image_blocks: &[Range<usize>],
        images: &[T],
        gradient: &[T],
    ) -> Vec<T> {
        let (outputs, rows) = (shape.out_channels, self.channels.len() * shape.taps());
        let mut sum = vec![T::zero(); outputs * rows];
        let mut onto = Onto::Nothing;
        for block in image_blocks {
            for pixels in tiling.tiles() {
                let tile = pixels.len();
                let columns = block.len() * tile;
                T::with_scratch((rows + outputs) * columns, |scratch| {
                    let (windows, gathered) = scratch.split_at_mut(rows * columns);
                    for (at, image) in block.clone().enumerate() {
                        let maps = (image * shape.groups + self.group) * shape.in_channels + self.channels.start;
                        let maps = &images[maps * shape.in_pixels()..][..self.channels.len() * shape.in_pixels()];
                        gather(shape, maps, &pixels, windows, at * tile, columns);
                    }
                    let gradient = output_tile(shape, gradient, self.group, block, &pixels, gathered);
                    let windows = Matrix::new(windows, [rows, columns], columns);
                    product(&mut sum, onto, gradient, windows.transposed());
                });
                onto = Onto::Present;
            }
        }
        sum
    }
}

/// The shares of all parts, added up in the order of the parts, in the order of the weight.
fn sum<T: Float>(shape: &ConvShape, tasks: &[Task], shares: &[Vec<T>]) -> Vec<T> {
    let (outputs, filter) = (shape.out_channels, shape.filter());
    let mut out = vec![T::zero(); shape.weights()];
    out.par_chunks_mut(filter).enumerate().for_each(|(channel, weights)| {
        let (group, channel) = (channel / outputs, channel % outputs);
        for (task, share) in tasks.iter().zip(shares).filter(|(task, _)| task.group == group) {
            let length = task.channels.len() * shape.taps();
            let weights = &mut weights[task.channels.start * shape.taps()..][..length];
            weights.iter_mut().zip(&share[channel * length..]).for_each(|(sum, share)| *sum += *share);
        }
    });
    out
}

/// One group's output gradient at a tile, `[out channels of the group, images * pixels]`; several images are copied
/// together.
pub(super) fn output_tile<'a, T: Float>(
    shape: &ConvShape,
    gradient: &'a [T],
    group: usize,
    images: &Range<usize>,
    pixels: &Range<usize>,
    scratch: &'a mut [T],
) -> Matrix<'a, T> {
    let (outputs, map, tile) = (shape.out_channels, shape.pixels(), pixels.len());
    let maps = |image: usize| &gradient[(image * shape.groups + group) * outputs * map..][..outputs * map];
    if images.len() == 1 {
        return Matrix::new(&maps(images.start)[pixels.start..], [outputs, tile], map);
    }
    let columns = images.len() * tile;
    for (at, image) in images.clone().enumerate() {
        for (row, map) in scratch.chunks_mut(columns).zip(maps(image).chunks(map)) {
            row[at * tile..][..tile].copy_from_slice(&map[pixels.clone()]);
        }
    }
    Matrix::new(scratch, [outputs, columns], columns)
}

/// Gradient `[out]` by the bias.
pub(super) fn bias_gradient<T: Float>(shape: &ConvShape, gradient: &[T]) -> Vec<T> {
    let (channels, pixels) = (shape.groups * shape.out_channels, shape.pixels());
    let one = |channel: usize| {
        let maps = (0..shape.batch).map(|image| &gradient[(image * channels + channel) * pixels..][..pixels]);
        T::from_f64(maps.map(|map| sum_of(map, map, |value, _| value)).sum())
    };
    (0..channels).into_par_iter().map(one).collect()
}
