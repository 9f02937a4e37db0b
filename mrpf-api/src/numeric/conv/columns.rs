//! Between images and the matrix whose columns are the windows of output pixels (im2col and col2im).
//!
//! The matrix has a row for each input channel and kernel position, in the order of a filter's weights, and a column
//! for each output pixel.

use std::ops::Range;

use super::super::float::Float;
use super::shape::ConvShape;

/// A run of output pixels of one output row: those that read input values, and how many before and after read padding.
struct Run {
    start: usize,
    before: usize,
    inside: usize,
    after: usize,
    source: usize,
}

/// Calls `visit` for every output row's share of `pixels`, for the kernel position `tap` `[row, column]`.
#[inline]
fn runs(shape: &ConvShape, pixels: &Range<usize>, tap: [usize; 2], mut visit: impl FnMut(Run)) {
    let (width, stride, padding) = (shape.out_width, shape.stride, shape.padding);
    let rows = shape.inside(0, tap[0], shape.height, shape.out_height);
    let columns = shape.inside(1, tap[1], shape.width, width);
    let mut at = pixels.start;
    while at < pixels.end {
        let (row, first) = (at / width, at % width);
        let last = (first + pixels.end - at).min(width);
        let (start, length) = (at - pixels.start, last - first);
        at += length;
        let from = columns.start.clamp(first, last);
        let to = columns.end.clamp(from, last);
        if !rows.contains(&row) || from == to {
            visit(Run { start, before: length, inside: 0, after: 0, source: 0 });
            continue;
        }
        let source = (row * stride[0] + tap[0] - padding[0]) * shape.width + from * stride[1] + tap[1] - padding[1];
        visit(Run { start, before: from - first, inside: to - from, after: last - to, source });
    }
}

/// Copies windows of `maps` (whole input maps of one image) into the columns from `first` of a matrix with
/// `row_stride` columns.
pub(super) fn gather<T: Float>(
    shape: &ConvShape,
    maps: &[T],
    pixels: &Range<usize>,
    columns: &mut [T],
    first: usize,
    row_stride: usize,
) {
    let stride = shape.stride[1];
    let mut rows = columns.chunks_mut(row_stride);
    for map in maps.chunks_exact(shape.in_pixels()) {
        for tap in 0..shape.taps() {
            let Some(row) = rows.next() else { return };
            let row = &mut row[first..first + pixels.len()];
            runs(shape, pixels, [tap / shape.kernel[1], tap % shape.kernel[1]], |run| {
                let row = &mut row[run.start..][..run.before + run.inside + run.after];
                row[..run.before].fill(T::zero());
                let inside = &mut row[run.before..][..run.inside];
                match stride {
                    1 => inside.copy_from_slice(&map[run.source..][..run.inside]),
                    _ => inside
                        .iter_mut()
                        .zip(map[run.source..].iter().step_by(stride))
                        .for_each(|(to, from)| *to = *from),
                }
                row[run.before + run.inside..].fill(T::zero());
            });
        }
    }
}

/// Adds columns back to where [`gather`] took them from; `maps` are the input maps of one image.
pub(super) fn scatter_add<T: Float>(
    shape: &ConvShape,
    columns: &[T],
    first: usize,
    row_stride: usize,
    pixels: &Range<usize>,
    maps: &mut [&mut [T]],
) {
    let stride = shape.stride[1];
    let mut rows = columns.chunks(row_stride);
    for map in maps {
        for tap in 0..shape.taps() {
            let Some(row) = rows.next() else { return };
            let row = &row[first..first + pixels.len()];
            runs(shape, pixels, [tap / shape.kernel[1], tap % shape.kernel[1]], |run| {
                let inside = &row[run.start + run.before..][..run.inside];
                match stride {
                    1 => map[run.source..][..run.inside].iter_mut().zip(inside).for_each(|(to, from)| *to += *from),
                    _ => map[run.source..].iter_mut().step_by(stride).zip(inside).for_each(|(to, from)| *to += *from),
                }
            });
        }
    }
}
