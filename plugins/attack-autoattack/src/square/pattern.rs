//! What Square adds in a window in L2 and L1: two hills of opposite sign, one above the other.

use mrpf_api::attack::search::length;
use mrpf_api::prelude::Norm;

/// The pattern of a square of the given side, of length 1 in the norm; row after row.
pub(super) fn pattern(norm: Norm, side: usize) -> Vec<f64> {
    let above = side / 2;
    let mut values = hill(norm, above, side);
    values.extend(hill(norm, side - above, side).into_iter().map(|value| -value));
    scale(norm, values)
}

/// The same, mirrored along the diagonal.
pub(super) fn transposed(pattern: &[f64], side: usize) -> Vec<f64> {
    (0..side * side).map(|at| pattern[at % side * side + at / side]).collect()
}

/// Rings about the middle, each higher than the one around it, of length 1.
fn hill(norm: Norm, rows: usize, columns: usize) -> Vec<f64> {
    let mut values = vec![0.0; rows * columns];
    let (middle_row, middle_column) = ((rows / 2) as isize, (columns / 2) as isize);
    let power = if norm == Norm::L1 { 4 } else { 2 };
    for ring in 0..(rows / 2 + 1).max(columns / 2 + 1) as isize {
        let reach = |middle: isize, count: usize| {
            (middle - ring).max(0) as usize..((middle + ring + 1).max(0) as usize).min(count)
        };
        for row in reach(middle_row, rows) {
            for column in reach(middle_column, columns) {
                values[row * columns + column] += 1.0 / ((ring + 1) as f64).powi(power);
            }
        }
    }
    scale(norm, values)
}

fn scale(norm: Norm, mut values: Vec<f64>) -> Vec<f64> {
    let length = length(norm, values.iter().copied());
    values.iter_mut().for_each(|value| *value /= length);
    values
}
