//! L2: the point moves against `w`, and values that come to a face of the range stay there.

use super::{dot, last_that, way_to_face};

/// Weights below this count as zero.
const FLAT: f64 = 1e-8;

/// `above` is `w . point - b`, not negative.
pub(super) fn project(point: &[f64], w: &[f64], above: f64) -> Vec<f64> {
    let flat = |w: f64| w.abs() <= FLAT;
    // The multiple of `w` at which each value comes to its face.
    let stop = |(&value, &w): (&f64, &f64)| if flat(w) { f64::INFINITY } else { way_to_face(value, w).abs() / w.abs() };
    let stops: Vec<f64> = point.iter().zip(w).map(stop).collect();
    let mut order: Vec<usize> = (0..point.len()).filter(|&at| stops[at].is_finite()).collect();
    order.sort_by(|&a, &b| stops[a].total_cmp(&stops[b]));
    let full: f64 = w.iter().map(|w| w * w).sum();
    let to_faces = |at: usize| if flat(w[at]) { 0.0 } else { -stops[at] * w[at] };
    if order.is_empty() {
        return vec![0.0; point.len()];
    }
    // What is left of `above` when the multiple is that of each stop, and the squared weight still moving beyond it.
    let (mut left, mut moving) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
    let (mut value, mut weight, mut last) = (above, full, 0.0);
    for &at in &order {
        value -= weight * (stops[at] - last);
        weight -= w[at] * w[at];
        last = stops[at];
        left.push(value);
        moving.push(weight);
    }
    let multiple = if left[0] < 0.0 {
        above / full
    } else if dot(&(0..w.len()).map(to_faces).collect::<Vec<_>>(), w) + above > 0.0 {
        f64::INFINITY
    } else {
        let place = last_that(order.len(), |place| left[place] > 0.0);
        if moving[place] == 0.0 { 0.0 } else { left[place] / moving[place] + stops[order[place]] }
    };
    let moved = |at: usize| match flat(w[at]) {
        true => 0.0,
        false if multiple > stops[at] => to_faces(at),
        false => -multiple * w[at],
    };
    (0..w.len()).map(moved).collect()
}
