//! Between maps and tokens, one sequence for each place in a patch.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

use super::float::{Float, for_dtype, is_native, read, tensor, values};
use crate::{Error, ErrorKind, Result};

/// From `[batch, channel, height, width]` to `[batch, place in the patch, patch, channel]` (Mehta and Rastegari 2021, section 3.1).
///
/// Places and patches are numbered row after row.
///
/// # Errors
/// [`ErrorKind::Tensor`] if the patches do not divide the map.
pub fn unfold(x: &Tensor, patch: [usize; 2]) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let grid = Grid::new(patch, [height, width], channels)?;
    match is_native(x) {
        true => rearranged(x, batch, grid, Direction::Unfold),
        false => {
            let [rows, columns] = grid.patches;
            let x = x.reshape(vec![batch * channels, rows, patch[0], columns, patch[1]])?.transpose(2, 3)?;
            let x = x.contiguous()?.reshape((batch, channels, rows * columns, patch[0] * patch[1]))?;
            Ok(x.transpose(1, 3)?.contiguous()?)
        }
    }
}

/// Back from what [`unfold`] made to a map of `size` `[height, width]`.
///
/// # Errors
/// [`ErrorKind::Tensor`] if the patches do not divide the map, or there are other sequences and tokens than its patches.
pub fn fold(x: &Tensor, patch: [usize; 2], size: [usize; 2]) -> Result<Tensor> {
    let (batch, sequences, tokens, channels) = x.dims4()?;
    let grid = Grid::new(patch, size, channels)?;
    let [rows, columns] = grid.patches;
    if (sequences, tokens) != (patch[0] * patch[1], rows * columns) {
        let message = format!("tokens {:?} for patches of {patch:?} in a map of {size:?}", x.dims());
        return Err(Error::new(ErrorKind::Tensor, message));
    }
    match is_native(x) {
        true => rearranged(x, batch, grid, Direction::Fold),
        false => {
            let x = x.transpose(1, 3)?.contiguous()?;
            let x = x.reshape(vec![batch * channels, rows, columns, patch[0], patch[1]])?.transpose(2, 3)?;
            Ok(x.contiguous()?.reshape((batch, channels, size[0], size[1]))?)
        }
    }
}

fn rearranged(x: &Tensor, batch: usize, grid: Grid, direction: Direction) -> Result<Tensor> {
    for_dtype!(x, T => {
        let operation = Rearrange::<T> { batch, grid, direction, element: PhantomData };
        Ok(x.contiguous()?.apply_op1(operation)?)
    })
}

#[derive(Clone, Copy)]
enum Direction {
    Unfold,
    Fold,
}

/// A map in patches.
#[derive(Clone, Copy)]
struct Grid {
    patch: [usize; 2],
    /// Patches along the height and the width.
    patches: [usize; 2],
    channels: usize,
}

impl Grid {
    fn new(patch: [usize; 2], size: [usize; 2], channels: usize) -> Result<Self> {
        let divides = |axis: usize| patch[axis] > 0 && size[axis] > 0 && size[axis].is_multiple_of(patch[axis]);
        if !divides(0) || !divides(1) || channels == 0 {
            let message = format!("patches of {patch:?} in a map of {channels} channels and size {size:?}");
            return Err(Error::new(ErrorKind::Tensor, message).hint("expected patches that divide the map"));
        }
        Ok(Self { patch, patches: [size[0] / patch[0], size[1] / patch[1]], channels })
    }

    fn pixels(&self) -> usize {
        self.patch.iter().chain(&self.patches).product()
    }

    /// For each token in order, the pixel that it is.
    fn pixel_of_token(&self) -> Vec<usize> {
        let ([height, width], [rows, columns]) = (self.patch, self.patches);
        let mut pixels = Vec::with_capacity(self.pixels());
        for place in 0..height * width {
            for token in 0..rows * columns {
                let (row, column) = (token / columns * height + place / width, token % columns * width + place % width);
                pixels.push(row * columns * width + column);
            }
        }
        pixels
    }
}

struct Rearrange<T> {
    batch: usize,
    grid: Grid,
    direction: Direction,
    element: PhantomData<T>,
}

impl<T: Float> Rearrange<T> {
    fn run(&self, x: &[T], direction: Direction) -> Vec<T> {
        let (pixels, channels) = (self.grid.pixels(), self.grid.channels);
        let pixel_of_token = self.grid.pixel_of_token();
        let mut out = vec![T::zero(); x.len()];
        let images = out.par_chunks_mut(pixels * channels).zip(x.par_chunks(pixels * channels));
        images.for_each(|(out, x)| match direction {
            Direction::Unfold => {
                for (out, &pixel) in out.chunks_exact_mut(channels).zip(&pixel_of_token) {
                    out.iter_mut().enumerate().for_each(|(channel, out)| *out = x[channel * pixels + pixel]);
                }
            }
            Direction::Fold => {
                for (x, &pixel) in x.chunks_exact(channels).zip(&pixel_of_token) {
                    x.iter().enumerate().for_each(|(channel, x)| out[channel * pixels + pixel] = *x);
                }
            }
        });
        out
    }

    fn shape(&self, direction: Direction) -> Shape {
        let Self { batch, grid: Grid { patch: [height, width], patches: [rows, columns], channels }, .. } = *self;
        match direction {
            Direction::Unfold => Shape::from((batch, height * width, rows * columns, channels)),
            Direction::Fold => Shape::from((batch, channels, rows * height, columns * width)),
        }
    }
}

impl<T: Float> CustomOp1 for Rearrange<T> {
    fn name(&self) -> &'static str {
        match self.direction {
            Direction::Unfold => "unfold",
            Direction::Fold => "fold",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = self.run(values::<T>(x, layout)?, self.direction);
        Ok((T::to_cpu_storage_owned(out), self.shape(self.direction)))
    }

    /// Every value goes to one place, so its gradient comes back from there.
    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let back = match self.direction {
            Direction::Unfold => Direction::Fold,
            Direction::Fold => Direction::Unfold,
        };
        let by_x = read::<T, _>(gradient, |gradient| Ok(self.run(gradient, back)))?;
        Ok(Some(tensor(by_x, x.shape())?))
    }
}
