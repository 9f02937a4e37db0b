//! The geometric median by Weiszfeld's algorithm.

use mrpf_api::rayon::prelude::*;

use super::distances::distance;

/// The point from which the sum of the Euclidean distances to `points`, all of one dimension, is least; empty for no points.
///
/// Weiszfeld's step puts the mean, weighted by the inverse distances, in the place of the current point. At one of the points, whose
/// weight would be infinite, it is shortened by how often the point occurs against the pull of the others (Vardi and Zhang 2000, The
/// multivariate L1-median and associated data depth). Ends with a step below `tolerance` times the mean distance, or after
/// `steps`. Where points lie on a line and their number is even the median is not unique, and one of them is found.
pub fn geometric_median(points: &[&[f64]], tolerance: f64, steps: usize) -> Vec<f64> {
    let Some(first) = points.first() else { return Vec::new() };
    let mut median = vec![0.0; first.len()];
    for point in points {
        add(&mut median, 1.0 / points.len() as f64, point);
    }
    for _ in 0..steps {
        let distances: Vec<f64> = points.par_iter().map(|point| distance(point, &median)).collect();
        let spread = distances.iter().sum::<f64>() / points.len() as f64;
        let Some(next) = step(points, &distances, &median, spread) else { break };
        let length = distance(&next, &median);
        median = next;
        if length <= tolerance * spread {
            break;
        }
    }
    median
}

/// The next point; none where the current one is the median.
fn step(points: &[&[f64]], distances: &[f64], median: &[f64], spread: f64) -> Option<Vec<f64>> {
    // Nearer than rounding can tell counts as being there.
    let is_here = |distance: f64| distance <= 1e-14 * spread;
    let here = distances.iter().filter(|distance| is_here(**distance)).count() as f64;
    let weight: f64 = distances.iter().filter(|distance| !is_here(**distance)).map(|distance| 1.0 / distance).sum();
    if weight == 0.0 {
        return None;
    }
    let mut pull = vec![0.0; median.len()];
    for (point, &distance) in points.iter().zip(distances) {
        if !is_here(distance) {
            let towards = pull.iter_mut().zip(point.iter().zip(median));
            towards.for_each(|(pull, (point, here))| *pull += (point - here) / distance);
        }
    }
    let strength = pull.iter().map(|pull| pull * pull).sum::<f64>().sqrt();
    if strength <= here {
        return None;
    }
    let mut next = median.to_vec();
    add(&mut next, (1.0 - here / strength) / weight, &pull);
    Some(next)
}

fn add(sum: &mut [f64], factor: f64, term: &[f64]) {
    sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += factor * term);
}
