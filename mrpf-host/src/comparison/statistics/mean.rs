//! Means over seeds.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::rounding::rounded;

/// A mean over seeds, with half of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The mean of repeated experiments lies within `mean` ± `half` with 95 % confidence, if the figures of seeds are normally
    /// distributed; none for a single seed, which says nothing about others.
    pub half: Option<f64>,
    /// How many seeds.
    pub seeds: usize,
}

impl Mean {
    /// Mean and Student's interval: `half` is t(0.975, n - 1) s / sqrt(n) with the sample's standard deviation s. None of no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        if seeds == 0 {
            return None;
        }
        // Sums depend on the order of their terms in the last bit; the order of the seeds shall not matter.
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        // Beginning with the first, equal values have exactly their value as mean.
        let mean = values[0] + values.iter().map(|value| value - values[0]).sum::<f64>() / seeds as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let half = StudentsT::new(0.0, 1.0, (seeds - 1) as f64)
            .ok()
            .map(|student| rounded(student.inverse_cdf(0.975) * (squares / (seeds - 1) as f64 / seeds as f64).sqrt()));
        Some(Self { mean, half, seeds })
    }
}
