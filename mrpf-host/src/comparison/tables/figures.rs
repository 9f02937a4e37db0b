//! Figures as people read them in tables.

use super::super::statistics::Mean;
use crate::output::count;

/// `85.0 ± 1.2 %`, in percent of a share; without the half interval where a single seed gives none.
pub(super) fn share(mean: &Mean) -> String {
    format!("{} %", points(mean))
}

/// `4.0 ± 0.5`: a difference of shares, in points of percent.
pub(super) fn points(mean: &Mean) -> String {
    let whole = without_minus_zero(format!("{:.1}", 100.0 * mean.mean));
    match mean.half {
        Some(half) => format!("{whole} ± {:.1}", 100.0 * half),
        None => whole,
    }
}

/// `-0.0` is no figure for people.
fn without_minus_zero(text: String) -> String {
    if text == "-0.0" { "0.0".into() } else { text }
}

/// `20.9 M (51.2 %)`: a cost and what that is of the dense network's.
pub(super) fn cost(cost: &Mean, kept: &Mean) -> String {
    format!("{} ({:.1} %)", count(cost.mean.round() as u64), 100.0 * kept.mean)
}

/// `4.2 (1.5 to 6.8)`: a difference of shares and its interval, in points of percent.
pub(super) fn difference(difference: f64, [low, high]: [f64; 2]) -> String {
    let [difference, low, high] =
        [difference, low, high].map(|share| without_minus_zero(format!("{:.1}", 100.0 * share)));
    format!("{difference} ({low} to {high})")
}

/// `0.032`, `< 0.001`.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// `0.82`; a dash where there is none.
pub(super) fn coefficient(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}
