//! Matrix products; the only unsafe code among the operations.

use super::float::Float;

/// A matrix view whose elements `(row, column)` lie at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// The first `columns` values of each of `rows` rows that begin `row_stride` apart.
    pub(crate) fn new(values: &'a [T], [rows, columns]: [usize; 2], row_stride: usize) -> Self {
        assert!(rows > 0 && columns > 0 && values.len() >= (rows - 1) * row_stride + columns);
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// Rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// What a product does with the values that its output holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    /// Overwrites them, whatever they are.
    Nothing,
    /// Adds to them.
    Present,
}

/// Writes `left * right` to `out` `[left rows, right columns]`, row-major without gaps, on the calling thread alone.
///
/// Parallel callers split their work by a rule of their own that does not depend on the number of threads, hence
/// neither do the results.
pub(crate) fn product<T: Float>(out: &mut [T], onto: Onto, left: Matrix<'_, T>, right: Matrix<'_, T>) {
    assert!(left.columns == right.rows && out.len() >= left.rows * right.columns);
    // SAFETY: `out` holds `left.rows * right.columns` values, as asserted, and is borrowed exclusively, so it overlaps
    // neither factor. The factors' largest offsets are within their slices by the assertion of `Matrix::new`, which
    // transposing preserves. `Float` is implemented for f32 and f64 only, both of which the crate dispatches on.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            right.columns as isize,
            onto == Onto::Present,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
