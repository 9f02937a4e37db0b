//! Rank correlations.

use std::cmp::Ordering;

/// Spearman's rank correlation, in [-1, 1]: Pearson's correlation of the ranks, where equal values share the mean of theirs.
///
/// None for lists of different lengths or where either has fewer than two different values, which have no order.
pub fn spearman(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let middle = (first.len() as f64 + 1.0) / 2.0;
    let centred = |values: &[f64]| ranks(values).into_iter().map(|rank| rank - middle).collect::<Vec<f64>>();
    let (first, second) = (centred(first), centred(second));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scale = (product(&first, &first) * product(&second, &second)).sqrt();
    (scale > 0.0).then(|| (product(&first, &second) / scale).clamp(-1.0, 1.0))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let below = order.iter().position(|at| *at == equal[0]).unwrap_or_default();
        equal.iter().for_each(|&at| ranks[at] = below as f64 + (equal.len() as f64 + 1.0) / 2.0);
    }
    ranks
}

/// Kendall's tau-b, in [-1, 1]: pairs in the same order less pairs in opposite orders, over the geometric mean of the pairs that either
/// list orders at all (Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945).
///
/// None as for [`spearman`].
pub fn kendall_tau_b(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let (mut agreeing, mut in_first, mut in_second) = (0i64, 0i64, 0i64);
    for a in 0..first.len() {
        for b in 0..a {
            let [first, second] = [first, second].map(|values| sign(values[a], values[b]));
            agreeing += first * second;
            in_first += first.abs();
            in_second += second.abs();
        }
    }
    let scale = (in_first as f64 * in_second as f64).sqrt();
    (scale > 0.0).then(|| (agreeing as f64 / scale).clamp(-1.0, 1.0))
}

fn sign(a: f64, b: f64) -> i64 {
    match a.partial_cmp(&b) {
        Some(Ordering::Greater) => 1,
        Some(Ordering::Less) => -1,
        _ => 0,
    }
}
