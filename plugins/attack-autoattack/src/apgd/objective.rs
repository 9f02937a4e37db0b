//! What APGD climbs.

use mrpf_api::attack::search::{Logits, TINY, pick};
use mrpf_api::prelude::*;

/// The loss of an image, from logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objective {
    /// Cross-entropy with the label.
    CrossEntropy,
    /// Difference of logits ratio: `-(z_y - max_other z) / (z_1st - z_3rd)`, which neither shift nor scale of the logits changes.
    Dlr,
    /// `-(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2)` with a target class t.
    TargetedDlr,
}

impl Objective {
    /// Loss of each image, `[batch]`; differentiable by `logits` `[batch, class]`. The order of the logits counts as given.
    pub fn per_image(self, logits: &Tensor, labels: &[usize], targets: &[usize]) -> Result<Tensor> {
        if self == Self::CrossEntropy {
            let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
            return loss::cross_entropy_per_image(logits, &Tensor::new(labels, logits.device())?);
        }
        let values = Logits::new(&logits.detach())?;
        let rankings: Vec<Vec<usize>> = (0..labels.len()).map(|row| values.ranking(row)).collect();
        let ranked = |rank: usize| pick(logits, rankings.iter().map(|ranking| ranking[rank]));
        let other = |row: usize| rankings[row][usize::from(rankings[row][0] == labels[row])];
        let (rival, scale) = match self {
            Self::TargetedDlr => {
                (pick(logits, targets.iter().copied())?, (ranked(0)? - ((ranked(2)? + ranked(3)?)? * 0.5)?)?)
            }
            _ => (pick(logits, (0..labels.len()).map(other))?, (ranked(0)? - ranked(2)?)?),
        };
        Ok(((rival - pick(logits, labels.iter().copied())?)? / (scale + TINY)?)?)
    }
}
