//! Euclidean distances between the filters of a layer.

use mrpf_api::rayon::prelude::*;

/// For each point the sum of its distances to all others; none where there is no point.
pub(crate) fn sums_of_distances(points: &[Option<Vec<f64>>]) -> Vec<Option<f64>> {
    // Each sum is taken by one thread in the order of the points, so that the number of threads does not show.
    let sum = |point: &Option<Vec<f64>>| {
        point.as_ref().map(|point| points.iter().flatten().map(|other| distance(point, other)).sum())
    };
    points.par_iter().map(sum).collect()
}

/// For each point its distance to another one.
pub(crate) fn to_point(points: &[Option<Vec<f64>>], other: &[f64]) -> Vec<Option<f64>> {
    points.iter().map(|point| point.as_ref().map(|point| distance(point, other))).collect()
}

/// Euclidean distance of two points of one dimension.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    // Several sums side by side, because one alone waits for each addition.
    let mut sums = [0.0; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    for (a, b) in a_blocks.zip(b_blocks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    (rest + sums.iter().sum::<f64>()).sqrt()
}
