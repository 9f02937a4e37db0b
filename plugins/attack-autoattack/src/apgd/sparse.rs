//! The L1 form of APGD (Croce & Hein 2021, arXiv 2103.01208): steps along few values, as many as the best change has.

use super::course::Course;
use super::plan::Plan;
use mrpf_api::attack::search::sign;
use mrpf_api::prelude::Norm;

/// By how much the step shrinks when the best change keeps its values.
const SHRINK: f64 = 1.5;
/// The shortest step is this part of the first.
const SHORTEST: f64 = 10.0;

/// How many values a step moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sparsity {
    /// Share of the values.
    share: f64,
    /// How many values the best change had at the last check.
    changed: f64,
}

impl Sparsity {
    pub fn new(clean: &[f64], start: &[f64], plan: &Plan) -> Self {
        let count = clean.len() as f64;
        if plan.ball.norm == Norm::L1 && plan.goes_on {
            let changed = changed(clean, start);
            return Self { share: changed / count / 1.5, changed };
        }
        Self { share: 0.2, changed: count }
    }
}

/// How many values differ.
fn changed(clean: &[f64], point: &[f64]) -> f64 {
    clean.iter().zip(point).filter(|(clean, point)| clean != point).count() as f64
}

impl Course<'_> {
    /// A step of equal length in each of the values with the steepest slopes.
    pub(super) fn advance_sparsely(&mut self, plan: &Plan) {
        let count = self.gradient.len() as f64;
        let mut slopes: Vec<f64> = self.gradient.iter().map(|slope| slope.abs()).collect();
        let least = ((1.0 - self.sparsity.share) * count).clamp(0.0, count - 1.0) as usize;
        let (_, &mut threshold, _) = slopes.select_nth_unstable_by(least, f64::total_cmp);
        let steep = |slope: f64| if slope.abs() >= threshold { sign(slope) } else { 0.0 };
        let moved: f64 = self.gradient.iter().map(|&slope| steep(slope).abs()).sum();
        let each = self.step_size / (moved + 1e-10);
        self.point.iter_mut().zip(&self.gradient).for_each(|(value, &slope)| *value += each * steep(slope));
        plan.ball.project(&self.case.clean, &mut self.point);
    }

    /// Starts afresh with long steps from the best point if its change has become sparser, and shortens the steps if not.
    pub(super) fn check_sparsity(&mut self, plan: &Plan) {
        let changed = changed(&self.case.clean, &self.best);
        let sparser = changed / self.sparsity.changed < 0.95;
        self.sparsity = Sparsity { share: changed / self.case.clean.len() as f64 / 1.5, changed };
        let longest = plan.first_step();
        self.step_size = if sparser { longest } else { self.step_size / SHRINK };
        self.step_size = self.step_size.clamp(longest / SHORTEST, longest);
        if sparser {
            self.return_to_best();
        }
    }
}
