//! L1: values go to their faces one after another, those with the largest weights first, until the hyperplane is reached.

use super::{last_that, way_to_face};

/// Weights below this count as zero.
const FLAT: f64 = 1e-8;

/// `above` is `w . point - b`, not negative.
pub(super) fn project(point: &[f64], w: &[f64], above: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..w.len()).collect();
    order.sort_by(|&a, &b| w[b].abs().total_cmp(&w[a].abs()));
    // What is left of `above` when the first of the order are at their faces.
    let mut left = vec![above];
    let mut value = above;
    for &at in &order {
        value += w[at] * way_to_face(point[at], w[at]);
        left.push(value);
    }
    let reach = |at: usize| if w[at].abs() > FLAT { way_to_face(point[at], w[at]) } else { 0.0 };
    if value >= 0.0 {
        return (0..w.len()).map(reach).collect();
    }
    let place = last_that(order.len(), |place| left[place] > 0.0);
    let mut change = vec![0.0; w.len()];
    order[..place].iter().for_each(|&at| change[at] = reach(at));
    let last = order[place];
    if w[last].abs() > FLAT {
        change[last] = -left[place] / w[last];
    }
    change
}
