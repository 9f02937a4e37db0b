//! McNemar's test of paired outcomes.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, Discrete, DiscreteCDF};

use super::rounding::rounded;

/// Whether two methods are right with equally many images, asked of those images that one of them alone is right with.
///
/// McNemar, "Note on the sampling error of the difference between correlated proportions" (Psychometrika 12, 1947): if there is no
/// difference, either is the only one with probability one half.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Images that speak for the first.
    pub only_first: usize,
    /// Images that speak for the second.
    pub only_second: usize,
    /// Two-sided p value from the binomial distribution; never too small, but too large by the discreteness of the counts.
    pub exact_p: f64,
    /// The same with half of the probability of what was seen; the recommendation of Fagerland, Lydersen and Laake, "The McNemar test
    /// for binary matched-pairs data" (BMC Medical Research Methodology 13, 2013, equation 4).
    pub mid_p: f64,
}

impl McNemar {
    /// The test of two counts.
    pub fn of(only_first: usize, only_second: usize) -> Self {
        let [less, all] = [only_first.min(only_second) as u64, (only_first + only_second) as u64];
        // Without any such image nothing speaks against equality.
        let [exact_p, mid_p] = Binomial::new(0.5, all).ok().filter(|_| all > 0).map_or([1.0, 1.0], |binomial| {
            let tail = 2.0 * binomial.cdf(less);
            [tail, tail - binomial.pmf(less)].map(|p| rounded(p).clamp(0.0, 1.0))
        });
        Self { only_first, only_second, exact_p, mid_p }
    }
}
