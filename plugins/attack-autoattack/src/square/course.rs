//! The way of one image under Square.

use mrpf_api::attack::project_l1;
use mrpf_api::attack::search::{Ball, Case, Form, TINY, distance, length, sign};
use mrpf_api::prelude::*;

use super::pattern::{pattern, transposed};
use super::window::Window;

/// Uniform numbers in [0, 1), in the order in which the original draws them for a batch of one image.
pub(super) type Draws = Box<dyn FnMut() -> f64 + Send>;

/// The ball of L1 is made smaller by this, so that rounding does not leave it.
const INSIDE: f64 = 1.0 - 1e-6;

/// Side of the square, with its pattern in L2 and L1.
pub(super) struct Square {
    pub side: usize,
    upright: Vec<f64>,
    transposed: Vec<f64>,
}

impl Square {
    pub fn new(norm: Norm, side: usize) -> Self {
        if norm == Norm::Linf {
            return Self { side, upright: Vec::new(), transposed: Vec::new() };
        }
        let upright = pattern(norm, side);
        Self { side, transposed: transposed(&upright, side), upright }
    }
}

/// One image whose margin is being lowered.
pub(super) struct Course<'a> {
    /// Where the image stands among those that set out together.
    pub row: usize,
    pub case: &'a Case,
    /// The point with the lowest margin so far.
    pub best: Vec<f64>,
    pub margin: f64,
    /// The point to be tried next.
    pub proposal: Vec<f64>,
    draws: Draws,
}

impl<'a> Course<'a> {
    /// Proposes the start: vertical stripes of the radius in L-inf, a mosaic of patterns in L2 and L1.
    pub fn new(row: usize, case: &'a Case, ball: Ball, form: &Form, draws: Draws) -> Self {
        let mut course =
            Self { row, case, best: Vec::new(), margin: f64::INFINITY, proposal: case.clean.clone(), draws };
        match ball.norm {
            Norm::Linf => course.stripes(ball.epsilon, form),
            Norm::L2 | Norm::L1 => course.mosaic(ball, form),
        }
        course
    }

    /// Keeps the proposal if its margin is lower, or not positive.
    pub fn judge(&mut self, margin: f64) {
        if margin < self.margin || margin <= 0.0 {
            self.margin = margin;
            std::mem::swap(&mut self.best, &mut self.proposal);
        }
    }

    /// Proposes another point, which differs in a square.
    pub fn propose(&mut self, ball: Ball, form: &Form, square: &Square) {
        match ball.norm {
            Norm::Linf => self.propose_flat(ball.epsilon, form, square.side),
            Norm::L2 | Norm::L1 => self.propose_pattern(ball, form, square),
        }
    }

    fn sign(&mut self) -> f64 {
        sign(2.0 * (self.draws)() - 1.0)
    }

    /// As the original draws it: the last row and column at which the window would fit are left out.
    fn window(&mut self, form: &Form, side: usize) -> Window {
        let mut below = |bound: usize| ((self.draws)() * bound as f64) as usize;
        let row = below(form.height - side);
        let column = below(form.width - side);
        Window { row, column, side }
    }

    fn stripes(&mut self, epsilon: f64, form: &Form) {
        for channel in 0..form.channels {
            for column in 0..form.width {
                let change = epsilon * self.sign();
                for row in 0..form.height {
                    let value = &mut self.proposal[(channel * form.height + row) * form.width + column];
                    *value = (*value + change).clamp(0.0, 1.0);
                }
            }
        }
    }

    fn propose_flat(&mut self, epsilon: f64, form: &Form, side: usize) {
        let window = self.window(form, side);
        self.proposal.clone_from(&self.best);
        for channel in 0..form.channels {
            let change = 2.0 * epsilon * self.sign();
            for (at, _) in window.places(form, channel) {
                let clean = self.case.clean[at];
                let value = self.proposal[at] + change;
                self.proposal[at] = value.max(clean - epsilon).min(clean + epsilon).clamp(0.0, 1.0);
            }
        }
    }

    /// Whether the pattern stands upright or is mirrored.
    fn turned<'s>(&mut self, square: &'s Square) -> &'s [f64] {
        if (self.draws)() > 0.5 { &square.transposed } else { &square.upright }
    }

    fn mosaic(&mut self, ball: Ball, form: &Form) {
        let side = (form.height / 5).max(1);
        let first = form.height.saturating_sub(5 * side) / 2;
        let square = Square::new(ball.norm, side);
        let mut change = vec![0.0; form.values()];
        for down in 0..form.height / side {
            for right in 0..form.width / side {
                let window = Window { row: first + down * side, column: first + right * side, side };
                let turned = self.turned(&square);
                for channel in 0..form.channels {
                    let sign = self.sign();
                    window.places(form, channel).for_each(|(at, inside)| change[at] += turned[inside] * sign);
                }
            }
        }
        self.put(ball, change);
    }

    /// Puts a change onto the surface of the ball (L1: into the ball) and into the range, and proposes that.
    fn put(&mut self, ball: Ball, mut change: Vec<f64>) {
        let clean = &self.case.clean;
        match ball.norm {
            Norm::L1 => project_l1(clean, &mut change, ball.epsilon * INSIDE),
            norm => {
                let factor = ball.epsilon / (length(norm, change.iter().copied()) + TINY);
                change.iter_mut().zip(clean).for_each(|(change, clean)| {
                    *change = (clean + *change * factor).clamp(0.0, 1.0) - clean;
                });
            }
        }
        self.proposal.clear();
        self.proposal.extend(clean.iter().zip(&change).map(|(clean, change)| clean + change));
    }

    /// One window's change is taken away and given, with what the ball still has, to another window's.
    fn propose_pattern(&mut self, ball: Ball, form: &Form, square: &Square) {
        let (to, from) = (self.window(form, square.side), self.window(form, square.side));
        let turned = self.turned(square);
        let norm = ball.norm;
        let power = |value: f64| if norm == Norm::L1 { value } else { value * value };
        let mut change: Vec<f64> = self.best.iter().zip(&self.case.clean).map(|(best, clean)| best - clean).collect();
        let unused = (power(ball.epsilon) - power(distance(norm, &self.case.clean, &self.best))).max(0.0);
        let channels = form.channels as f64;
        let fresh: Vec<Vec<f64>> = (0..form.channels)
            .map(|channel| {
                let sign = self.sign();
                let places: Vec<(usize, usize)> = to.places(form, channel).collect();
                let old = length(norm, places.iter().map(|&(at, _)| change[at])) + TINY;
                let both = length(norm, to.union(from, form, channel).map(|at| change[at]));
                let fresh: Vec<f64> =
                    places.iter().map(|&(at, inside)| turned[inside] * sign + change[at] / old).collect();
                let share = unused / channels + power(both);
                let wanted = if norm == Norm::L1 { share * channels } else { share.sqrt() };
                let factor = wanted / (TINY + length(norm, fresh.iter().copied()));
                fresh.into_iter().map(|value| value * factor).collect()
            })
            .collect();
        for (channel, fresh) in fresh.iter().enumerate() {
            from.places(form, channel).for_each(|(at, _)| change[at] = 0.0);
            to.places(form, channel).zip(fresh).for_each(|((at, _), &value)| change[at] = value);
        }
        self.put(ball, change);
    }
}
