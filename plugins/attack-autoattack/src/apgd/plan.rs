//! What all images of one run of APGD have in common.

use mrpf_api::attack::search::Ball;
use mrpf_api::prelude::Norm;

/// Ball, steps and the windows at whose ends step sizes are checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub ball: Ball,
    pub steps: usize,
    /// Share of the steps of a window in which the loss must rise.
    pub rho: f64,
    /// Whether the run begins where another one ended.
    pub goes_on: bool,
    /// For each step the length of the window that ends with it; 0 if none does.
    pub windows: Vec<usize>,
}

impl Plan {
    pub fn new(ball: Ball, steps: usize, rho: f64) -> Self {
        let share = |share: f64| ((share * steps as f64) as usize).max(1);
        // L-inf and L2: 22 % of the steps at first, then 3 % less each time, 6 % at least. L1: 4 % always.
        let (mut window, less, least) = match ball.norm {
            Norm::L1 => (share(0.04), 0, 1),
            _ => (share(0.22), share(0.03), share(0.06)),
        };
        let (mut windows, mut since) = (vec![0; steps], 0);
        for end in &mut windows {
            since += 1;
            if since == window {
                (*end, since) = (window, 0);
                window = window.saturating_sub(less).max(least);
            }
        }
        Self { ball, steps, rho, goes_on: false, windows }
    }

    /// Length of the first step: the width of the ball in L-inf and L2, its radius in L1.
    pub fn first_step(&self) -> f64 {
        if self.ball.norm == Norm::L1 { self.ball.epsilon } else { 2.0 * self.ball.epsilon }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_sizes_are_checked_when_the_original_does() {
        let ends = |norm, steps| -> Vec<usize> {
            let windows = Plan::new(Ball { norm, epsilon: 0.1 }, steps, 0.75).windows;
            (0..steps).filter(|&step| windows[step] > 0).collect()
        };
        assert_eq!(ends(Norm::Linf, 100), [21, 40, 56, 69, 79, 86, 92, 98]);
        assert_eq!(ends(Norm::L2, 10), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(ends(Norm::L1, 30), (0..30).collect::<Vec<_>>());
    }
}
