//! The rounds of a pruning schedule, and how the fine-tuning epochs are shared out among them.

use mrpf_api::schedule::PruningSchedule;

/// One round: prune up to a ratio, then fine-tune for some epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// The share of the dense network's figure that shall be gone after this round.
    pub ratio: f64,
    /// Epochs of fine-tuning after it.
    pub epochs: usize,
}

/// The rounds that change anything: those whose ratio exceeds that of the round before.
///
/// All rounds together fine-tune for `epochs`; what does not divide goes to the last ones, where most has been removed.
pub fn rounds(schedule: &dyn PruningSchedule, count: usize, final_ratio: f64, epochs: usize) -> Vec<Round> {
    let mut ratios: Vec<f64> = Vec::new();
    for round in 1..=count.max(1) {
        let ratio = schedule.ratio(round as f64 / count.max(1) as f64, final_ratio);
        if ratios.last().is_none_or(|last| ratio > last + 1e-9) {
            ratios.push(ratio);
        }
    }
    let (each, rest) = (epochs / ratios.len(), epochs % ratios.len());
    let late = ratios.len() - rest;
    let share = |at: usize| each + usize::from(at >= late);
    ratios.into_iter().enumerate().map(|(at, ratio)| Round { ratio, epochs: share(at) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct AtOnce;
    impl PruningSchedule for AtOnce {
        fn ratio(&self, _: f64, final_ratio: f64) -> f64 {
            final_ratio
        }
    }

    struct Linear;
    impl PruningSchedule for Linear {
        fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
            progress * final_ratio
        }
    }

    #[test]
    fn one_shot_needs_one_round_and_gets_all_epochs() {
        assert_eq!(rounds(&AtOnce, 4, 0.5, 7), [Round { ratio: 0.5, epochs: 7 }]);
    }

    #[test]
    fn rounds_share_the_epochs_and_end_at_the_ratio() {
        let rounds = rounds(&Linear, 3, 0.6, 8);
        assert_eq!(rounds.iter().map(|round| round.epochs).collect::<Vec<_>>(), [2, 3, 3]);
        assert_eq!(rounds.last().map(|round| round.ratio), Some(0.6));
    }
}
