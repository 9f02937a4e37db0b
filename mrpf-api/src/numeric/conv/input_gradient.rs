//! The gradient by the images: the windows' gradients from one matrix product per tile, added up where windows overlap.

use rayon::prelude::*;
use std::ops::Range;

use super::super::float::Float;
use super::super::gemm::{Matrix, Onto, product};
use super::columns::scatter_add;
use super::shape::{ConvShape, Tiling};
use super::weight_gradient::output_tile;

/// Fewer input channels than this are not worth a task of their own.
const SMALLEST_BLOCK: usize = 16;

/// Gradient `[batch, in, height, width]` from the output's gradient `[batch, out, height', width']`.
pub(super) fn input_gradient<T: Float>(shape: &ConvShape, gradient: &[T], weight: &[T]) -> Vec<T> {
    let tiling = shape.tiling();
    let mut out = vec![T::zero(); shape.batch * shape.groups * shape.in_channels * shape.in_pixels()];
    tasks(shape, &tiling, &mut out).into_par_iter().for_each(|task| task.run(shape, &tiling, gradient, weight));
    out
}

/// A block of input channels of one group in a block of images, and the maps that it fills, image by image.
struct Task<'a, T> {
    group: usize,
    images: Range<usize>,
    channels: Range<usize>,
    maps: Vec<&'a mut [T]>,
}

fn tasks<'a, T>(shape: &ConvShape, tiling: &Tiling, out: &'a mut [T]) -> Vec<Task<'a, T>> {
    let per_group = shape.in_channels;
    let coarse = tiling.blocks().len() * shape.groups;
    let block = shape.channel_block(per_group, coarse, SMALLEST_BLOCK);
    let blocks = per_group.div_ceil(block);
    let mut tasks = Vec::with_capacity(coarse * blocks);
    for images in tiling.blocks() {
        for group in 0..shape.groups {
            for at in 0..blocks {
                let channels = at * block..((at + 1) * block).min(per_group);
                let maps = Vec::with_capacity(images.len() * channels.len());
                tasks.push(Task { group, images: images.clone(), channels, maps });
            }
        }
    }
    for (at, map) in out.chunks_mut(shape.in_pixels()).enumerate() {
        let (image, channel) = (at / (shape.groups * per_group), at % (shape.groups * per_group));
        let (group, channel) = (channel / per_group, channel % per_group);
        tasks[(image / tiling.images * shape.groups + group) * blocks + channel / block].maps.push(map);
    }
    tasks
}

impl<T: Float> Task<'_, T> {
    fn run(mut self, shape: &ConvShape, tiling: &Tiling, gradient: &[T], weight: &[T]) {
        let (filter, outputs, channels) = (shape.filter(), shape.out_channels, self.channels.len());
        let rows = channels * shape.taps();
        let first = self.group * outputs * filter + self.channels.start * shape.taps();
        let weight = Matrix::new(&weight[first..], [outputs, rows], filter).transposed();
        for pixels in tiling.tiles() {
            let tile = pixels.len();
            let columns = self.images.len() * tile;
            T::with_scratch((rows + outputs) * columns, |scratch| {
                let (windows, gathered) = scratch.split_at_mut(rows * columns);
                let gradient = output_tile(shape, gradient, self.group, &self.images, &pixels, gathered);
                product(windows, Onto::Nothing, weight, gradient);
                for (at, maps) in self.maps.chunks_mut(channels).enumerate() {
                    scatter_add(shape, windows, at * tile, columns, &pixels, maps);
                }
            });
        }
    }
}
