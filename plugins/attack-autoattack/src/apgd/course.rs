//! The way of one image under APGD.

use super::plan::Plan;
use super::sparse::Sparsity;
use mrpf_api::attack::search::{Case, TINY, length, sign};
use mrpf_api::prelude::*;

/// One image on its way up.
#[derive(Debug)]
pub(super) struct Course<'a> {
    /// Where the image stands among those that set out together.
    pub row: usize,
    pub case: &'a Case,
    /// The class that a targeted loss wants.
    pub target: usize,
    pub point: Vec<f64>,
    pub gradient: Vec<f64>,
    /// The point with the highest loss so far, and the gradient there.
    pub best: Vec<f64>,
    pub best_gradient: Vec<f64>,
    pub best_loss: f64,
    /// Length of the next step.
    pub step_size: f64,
    /// Whether the point is misclassified.
    pub broken: bool,
    pub(super) sparsity: Sparsity,
    /// The point before the last step.
    before: Vec<f64>,
    /// The losses after each step; zero where a step has not been made yet.
    losses: Vec<f64>,
    best_loss_at_check: f64,
    halved_at_check: bool,
}

impl<'a> Course<'a> {
    pub fn new(row: usize, case: &'a Case, target: usize, start: Vec<f64>, plan: &Plan) -> Self {
        Self {
            row,
            case,
            target,
            best: start.clone(),
            before: start.clone(),
            sparsity: Sparsity::new(&case.clean, &start, plan),
            point: start,
            gradient: Vec::new(),
            best_gradient: Vec::new(),
            best_loss: f64::NEG_INFINITY,
            step_size: plan.first_step(),
            broken: false,
            losses: vec![0.0; plan.steps],
            best_loss_at_check: 0.0,
            // So that the first check halves for want of progress only if the losses did not rise often enough.
            halved_at_check: true,
        }
    }

    /// One step along the gradient, in L-inf and L2 with a quarter of the last step as momentum.
    pub fn advance(&mut self, plan: &Plan, step: usize) {
        if plan.ball.norm == Norm::L1 {
            return self.advance_sparsely(plan);
        }
        let (clean, size) = (&self.case.clean, self.step_size);
        let mut ahead = self.point.clone();
        match plan.ball.norm {
            Norm::Linf => ahead.iter_mut().zip(&self.gradient).for_each(|(value, &slope)| *value += size * sign(slope)),
            _ => {
                let factor = size / (length(Norm::L2, self.gradient.iter().copied()) + TINY);
                ahead.iter_mut().zip(&self.gradient).for_each(|(value, &slope)| *value += factor * slope);
            }
        }
        plan.ball.project(clean, &mut ahead);
        let share = if step == 0 { 1.0 } else { 0.75 };
        for (value, (&at, &before)) in ahead.iter_mut().zip(self.point.iter().zip(&self.before)) {
            *value = at + (*value - at) * share + (at - before) * (1.0 - share);
        }
        plan.ball.project(clean, &mut ahead);
        self.before = std::mem::replace(&mut self.point, ahead);
    }

    /// Takes in what was seen at the point where the course begins.
    pub fn begin(&mut self, loss: f64, gradient: &[f64]) {
        (self.best_loss, self.best_loss_at_check) = (loss, loss);
        self.gradient = gradient.to_vec();
        self.best_gradient = gradient.to_vec();
    }

    /// Takes in what was seen after a step; of the last step the gradient is not needed and may be empty.
    pub fn observe(&mut self, step: usize, loss: f64, gradient: &[f64]) {
        self.losses[step] = loss;
        self.gradient.clear();
        self.gradient.extend_from_slice(gradient);
        if loss > self.best_loss {
            self.best_loss = loss;
            self.best.clone_from(&self.point);
            self.best_gradient.clone_from(&self.gradient);
        }
    }

    /// At the end of a window of steps: whether the steps are too long.
    ///
    /// In L-inf and L2 the step is halved, and the course goes on from the best point, if the loss rose in at most a share rho of the
    /// window, or if there is no new best loss since a check at which the step was not halved.
    pub fn check(&mut self, plan: &Plan, step: usize, window: usize) {
        if plan.ball.norm == Norm::L1 {
            return self.check_sparsity(plan);
        }
        // The loss before the first step is not in the list. The original reads its last entry there, which is zero at the first
        // check, and so does this.
        let before = |step: usize| self.losses[(step + self.losses.len() - 1) % self.losses.len()];
        let rises = (step + 1 - window..=step).filter(|&step| self.losses[step] > before(step)).count();
        let no_progress = !self.halved_at_check && self.best_loss_at_check >= self.best_loss;
        self.halved_at_check = rises as f64 <= window as f64 * plan.rho || no_progress;
        self.best_loss_at_check = self.best_loss;
        if self.halved_at_check {
            self.step_size /= 2.0;
            self.return_to_best();
        }
    }

    /// The loss that was seen after a step.
    #[cfg(test)]
    pub fn loss_after(&self, step: usize) -> f64 {
        self.losses[step]
    }

    pub(super) fn return_to_best(&mut self) {
        self.point.clone_from(&self.best);
        self.gradient.clone_from(&self.best_gradient);
    }
}
