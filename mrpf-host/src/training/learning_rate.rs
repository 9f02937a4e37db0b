//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

use super::settings::{Decay, LearningRate};

impl LearningRate {
    /// The rate of step `step` (from 0) of `steps`.
    ///
    /// 1. Warm-up: linear from 0 over the first share of the steps. 2. After it the decay, over the steps that are left.
    pub fn at(&self, step: usize, steps: usize) -> f64 {
        let progress = step as f64 / steps.max(1) as f64;
        if progress < self.warm_up {
            // The first step already moves.
            return self.peak * ((step + 1) as f64 / (self.warm_up * steps as f64)).min(1.0);
        }
        let progress = (progress - self.warm_up) / (1.0 - self.warm_up);
        let share = match self.decay {
            Decay::Constant => 1.0,
            Decay::Step => self.factor.powi(self.milestones.iter().filter(|&&at| progress >= at).count() as i32),
            Decay::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
            Decay::Cyclic => {
                let half = 0.5 / steps.max(1) as f64;
                // Taken at the middle of the step, so that neither the first nor the last stands still.
                1.0 - (2.0 * (progress + half).min(1.0) - 1.0).abs()
            }
        };
        self.peak * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(decay: Decay) -> LearningRate {
        LearningRate { peak: 0.4, decay, ..LearningRate::default() }
    }

    #[test]
    fn the_decays_pass_their_landmarks() {
        assert_eq!(rate(Decay::Constant).at(99, 100), 0.4);
        let step = rate(Decay::Step);
        assert_eq!([step.at(49, 100), step.at(50, 100)], [0.4, 0.4 * 0.1]);
        assert!((step.at(75, 100) - 0.004).abs() < 1e-12);
        let cosine = rate(Decay::Cosine);
        assert_eq!(cosine.at(0, 100), 0.4);
        assert!((cosine.at(50, 100) - 0.2).abs() < 1e-12);
        let cyclic = rate(Decay::Cyclic);
        assert!((cyclic.at(25, 101) - cyclic.at(75, 101)).abs() < 1e-12, "up and down alike");
        assert!((cyclic.at(50, 101) - 0.4).abs() < 1e-12, "the peak is in the middle");
    }

    proptest! {
        #[test]
        fn rates_are_positive_and_never_above_the_peak(
            decay in prop::sample::select(vec![Decay::Constant, Decay::Step, Decay::Cosine, Decay::Cyclic]),
            steps in 1..500usize,
            warm_up in 0.0..0.9f64,
            at in 0.0..1.0f64,
        ) {
            let rate = LearningRate { warm_up, ..rate(decay) };
            let value = rate.at((at * steps as f64) as usize, steps);
            prop_assert!(value > 0.0 && value <= 0.4 + 1e-12, "{value}");
        }
    }
}
