//! Confidence intervals of shares.

/// The 95 % interval of Wilson (1927) for a share of `successes` among `trials`: `[low, high]`, within [0, 1].
///
/// Unlike the normal approximation it holds for shares near 0 and 1, where robust accuracies often are.
pub fn wilson(successes: usize, trials: usize) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    // The 97.5 % point of the standard normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_values_are_met() {
        // Newcombe 1998, Statistics in Medicine 17, table I, method 3 (the score method without correction).
        for ((successes, trials), [low, high]) in [
            ((81, 263), [0.2553, 0.3662]),
            ((15, 148), [0.0624, 0.1605]),
            ((0, 20), [0.0, 0.1611]),
            ((1, 29), [0.0061, 0.1718]),
        ] {
            let found = wilson(successes, trials);
            assert!((found[0] - low).abs() < 5e-5 && (found[1] - high).abs() < 5e-5, "{successes}/{trials}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn the_share_lies_inside(trials in 1..2000usize, part in 0.0..=1.0f64) {
            let successes = (trials as f64 * part) as usize;
            let [low, high] = wilson(successes, trials);
            let share = successes as f64 / trials as f64;
            prop_assert!(0.0 <= low && low <= share + 1e-12 && share <= high + 1e-12 && high <= 1.0);
        }
    }
}
