//! Ranks of maps as matrices.

use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use super::maps::Maps;

/// For each channel the sum over the images of the ranks of its maps.
///
/// # Errors
/// [`ErrorKind::Numeric`] for a map with a value that is not finite.
pub(crate) fn sums_of_ranks(maps: &Maps) -> Result<Vec<f64>> {
    let Maps(values, [height, width]) = maps;
    let (images, channels, pixels) = values.dims3()?;
    let values = values.flatten_all()?.to_vec1::<f64>()?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::new(ErrorKind::Numeric, "a map has a value that is not finite"));
    }
    let ranks: Vec<usize> = values.par_chunks(pixels.max(1)).map(|map| rank(map, [*height, *width])).collect();
    let of_channel = |channel: usize| (0..images).map(|image| ranks[image * channels + channel]).sum::<usize>() as f64;
    Ok((0..channels).map(of_channel).collect())
}

/// The rank of a matrix `[height, width]` of finite values, row after row: singular values above `max(height, width) * epsilon` times the
/// largest, with the epsilon of f32, which PyTorch's `matrix_rank` takes for the maps of the authors.
pub fn rank(values: &[f64], [height, width]: [usize; 2]) -> usize {
    let singular = singular_values(values, width);
    let largest = singular.iter().copied().fold(0.0, f64::max);
    let least = height.max(width) as f64 * f64::from(f32::EPSILON) * largest;
    singular.iter().filter(|value| **value > least).count()
}

/// Singular values of a matrix given row after row, in no order: pairs of rows are turned until all are orthogonal, and their lengths are
/// the values (one-sided Jacobi, Golub and Van Loan 2013, section 8.6.3).
fn singular_values(values: &[f64], width: usize) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = values.chunks(width.max(1)).map(<[f64]>::to_vec).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // Convergence is quadratic in the end; small matrices take about six sweeps.
    for _ in 0..40 {
        let mut turned = false;
        for i in 1..rows.len() {
            let (before, from) = rows.split_at_mut(i);
            let second = &mut from[0];
            for first in before {
                let (a, b, product) = (dot(first, first), dot(second, second), dot(first, second));
                if product.abs() <= 1e-15 * (a * b).sqrt() || product == 0.0 {
                    continue;
                }
                turned = true;
                let zeta = (b - a) / (2.0 * product);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = cosine * tangent;
                for (x, y) in first.iter_mut().zip(second.iter_mut()) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
        }
        if !turned {
            break;
        }
    }
    rows.iter().map(|row| dot(row, row).sqrt()).collect()
}
