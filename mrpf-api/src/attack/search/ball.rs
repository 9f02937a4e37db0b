//! The ball of the threat model for one image.

use crate::attack::{Norm, ThreatModel, project_l1};

/// Keeps a division by a length of zero finite; AutoAttack's value.
pub const TINY: f64 = 1e-12;

/// A ball cut with the valid range [0, 1].
#[derive(Debug, Clone, Copy)]
pub struct Ball {
    /// Its shape.
    pub norm: Norm,
    /// Its radius.
    pub epsilon: f64,
}

impl Ball {
    /// The ball of a threat model.
    pub fn of(threat: &ThreatModel) -> Self {
        Self { norm: threat.norm, epsilon: threat.epsilon.value() }
    }

    /// Puts a point into the ball around `clean` and into the range, by the formulas of AutoAttack's APGD.
    pub fn project(&self, clean: &[f64], point: &mut [f64]) {
        let epsilon = self.epsilon;
        match self.norm {
            Norm::Linf => {
                for (value, &clean) in point.iter_mut().zip(clean) {
                    *value = value.max(clean - epsilon).min(clean + epsilon).clamp(0.0, 1.0);
                }
            }
            Norm::L2 => {
                let length = distance(Norm::L2, clean, point);
                let factor = length.min(epsilon) / (length + TINY);
                for (value, &clean) in point.iter_mut().zip(clean) {
                    *value = (clean + (*value - clean) * factor).clamp(0.0, 1.0);
                }
            }
            Norm::L1 => {
                let change: Vec<f64> = point.iter().zip(clean).map(|(value, clean)| value - clean).collect();
                self.shorten(clean, &change, point);
            }
        }
    }

    /// The point of the L1 ball and the range that is nearest to `clean + change`.
    ///
    /// What the projection takes away is subtracted from the sum, as AutoAttack does, so that most of the values that go back to
    /// the clean ones miss them by a last bit. AutoAttack counts those as changed, which decides how sparse the steps of APGD are.
    pub fn shorten(&self, clean: &[f64], change: &[f64], point: &mut [f64]) {
        let mut short = change.to_vec();
        project_l1(clean, &mut short, self.epsilon);
        for (at, value) in point.iter_mut().enumerate() {
            *value = (clean[at] + change[at]) + (short[at] - change[at]);
        }
    }
}

/// Length of a vector.
pub fn length(norm: Norm, values: impl Iterator<Item = f64>) -> f64 {
    match norm {
        Norm::Linf => values.fold(0.0, |longest, value| longest.max(value.abs())),
        Norm::L2 => values.map(|value| value * value).sum::<f64>().sqrt(),
        Norm::L1 => values.map(f64::abs).sum(),
    }
}

/// Length of the way from one point to another.
pub fn distance(norm: Norm, from: &[f64], to: &[f64]) -> f64 {
    length(norm, from.iter().zip(to).map(|(from, to)| to - from))
}

/// -1, 0 or 1.
pub fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}
