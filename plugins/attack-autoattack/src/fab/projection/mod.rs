//! The nearest point of a hyperplane within the valid range [0, 1], in each norm (Croce & Hein 2020, arXiv 1907.02044, section 3.1).
//!
//! `w . x = b` is the hyperplane; the result is the change of `point`. A hyperplane that cannot be reached within the range gives the
//! change that goes as far towards it as the range allows. As `fab_projections.py` of fra31/auto-attack, image by image.

mod l1;
mod l2;
mod linf;
#[cfg(test)]
mod tests;

use mrpf_api::prelude::Norm;

/// The change of `point` to the nearest point of the hyperplane `w . x = b`.
pub(super) fn project(norm: Norm, point: &[f64], w: &[f64], b: f64) -> Vec<f64> {
    // The hyperplane is turned so that the way to it leads against `w`.
    let above = dot(w, point) - b;
    let turn = if above >= 0.0 { 1.0 } else { -1.0 };
    let w: Vec<f64> = w.iter().map(|w| turn * w).collect();
    match norm {
        Norm::Linf => linf::project(point, &w, turn * above),
        Norm::L2 => l2::project(point, &w, turn * above),
        Norm::L1 => l1::project(point, &w, turn * above),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// How far a value can go against the sign of its weight: to 1 where the weight is negative, else to 0.
fn way_to_face(value: f64, weight: f64) -> f64 {
    if weight < 0.0 { 1.0 - value } else { -value }
}

/// The last of the numbers below `count` for which `holds`, which holds up to some number and not beyond; 0 if it holds for none.
fn last_that(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
