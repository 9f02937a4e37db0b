//! The convolution itself: windows as columns, one matrix product per tile.

use rayon::prelude::*;
use std::ops::Range;

use super::super::float::Float;
use super::super::gemm::{Matrix, Onto, product};
use super::columns::gather;
use super::shape::ConvShape;

/// Fewer output channels than this are not worth gathering the windows once more.
const SMALLEST_BLOCK: usize = 64;

/// Output `[batch, out, height', width']`, all row-major.
pub(super) fn convolve<T: Float>(shape: &ConvShape, images: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let pixels = shape.pixels();
    let mut out = vec![T::zero(); shape.batch * shape.groups * shape.out_channels * pixels];
    tasks(shape, &mut out).into_par_iter().for_each(|task| task.run(shape, images, weight, bias));
    out
}

/// A block of output channels of one group at one tile, and the pieces of output maps that it fills, image by image.
struct Task<'a, T> {
    group: usize,
    images: Range<usize>,
    pixels: Range<usize>,
    channels: Range<usize>,
    pieces: Vec<&'a mut [T]>,
}

fn tasks<'a, T>(shape: &ConvShape, out: &'a mut [T]) -> Vec<Task<'a, T>> {
    let tiling = shape.tiling();
    let tiles: Vec<_> = tiling.tiles().collect();
    let per_group = shape.out_channels;
    let coarse = tiling.blocks().len() * tiles.len() * shape.groups;
    let block = shape.channel_block(per_group, coarse, SMALLEST_BLOCK);
    let blocks = per_group.div_ceil(block);
    let mut tasks = Vec::with_capacity(coarse * blocks);
    for images in tiling.blocks() {
        for group in 0..shape.groups {
            for at in 0..blocks {
                let channels = at * block..((at + 1) * block).min(per_group);
                for pixels in &tiles {
                    let pieces = Vec::with_capacity(images.len() * channels.len());
                    let (images, pixels, channels) = (images.clone(), pixels.clone(), channels.clone());
                    tasks.push(Task { group, images, pixels, channels, pieces });
                }
            }
        }
    }
    for (at, mut map) in out.chunks_mut(shape.pixels()).enumerate() {
        let (image, channel) = (at / (shape.groups * per_group), at % (shape.groups * per_group));
        let (group, channel) = (channel / per_group, channel % per_group);
        let first = ((image / tiling.images * shape.groups + group) * blocks + channel / block) * tiles.len();
        for (task, pixels) in tasks[first..].iter_mut().zip(&tiles) {
            let (piece, rest) = map.split_at_mut(pixels.len());
            task.pieces.push(piece);
            map = rest;
        }
    }
    tasks
}

impl<T: Float> Task<'_, T> {
    fn run(mut self, shape: &ConvShape, images: &[T], weight: &[T], bias: Option<&[T]>) {
        let (filter, channels, tile) = (shape.filter(), self.channels.len(), self.pixels.len());
        let columns = self.images.len() * tile;
        let first_channel = self.group * shape.out_channels + self.channels.start;
        let weight = Matrix::new(&weight[first_channel * filter..], [channels, filter], filter);
        // One image's maps are the columns already if every window is a single pixel.
        let direct = shape.is_pointwise() && self.images.len() == 1;
        let gathered = if direct { 0 } else { filter * columns };
        T::with_scratch(gathered + channels * columns, |scratch| {
            let (windows, result) = scratch.split_at_mut(gathered);
            let maps = |image: usize| {
                let size = shape.in_channels * shape.in_pixels();
                &images[(image * shape.groups + self.group) * size..][..size]
            };
            if direct {
                let windows = &maps(self.images.start)[self.pixels.start..];
                product(result, Onto::Nothing, weight, Matrix::new(windows, [filter, columns], shape.in_pixels()));
            } else {
                for (at, image) in self.images.clone().enumerate() {
                    gather(shape, maps(image), &self.pixels, windows, at * tile, columns);
                }
                product(result, Onto::Nothing, weight, Matrix::new(windows, [filter, columns], columns));
            }
            for (at, piece) in self.pieces.iter_mut().enumerate() {
                let (image, channel) = (at / channels, at % channels);
                let from = &result[channel * columns + image * tile..][..tile];
                match bias {
                    None => piece.copy_from_slice(from),
                    Some(bias) => {
                        let bias = bias[first_channel + channel];
                        piece.iter_mut().zip(from).for_each(|(to, from)| *to = *from + bias);
                    }
                }
            }
        });
    }
}
