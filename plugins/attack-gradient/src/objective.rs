//! What the ascents climb.

use mrpf_api::attack::search::{Logits, pick};
use mrpf_api::prelude::*;

/// The loss of an image, from logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Objective {
    /// Cross-entropy with the label.
    CrossEntropy,
    /// `-max(z_y - max_other z + confidence, 0)`: the margin of Carlini & Wagner 2017.
    Margin {
        /// How far the wrong logit is driven beyond the label's.
        confidence: f64,
    },
}

impl Objective {
    /// Loss of each image, `[batch]`, for `labels` `[batch]` u32.
    pub fn per_image(self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let Self::Margin { confidence } = self else { return loss::cross_entropy_per_image(logits, labels) };
        let (values, of) = (Logits::new(&logits.detach())?, labels.to_vec1::<u32>()?);
        let other = |row: usize| {
            let ranking = values.ranking(row);
            ranking[usize::from(ranking[0] == of[row] as usize)]
        };
        let lead = (pick(logits, (0..of.len()).map(other))? - pick(logits, of.iter().map(|&label| label as usize))?)?;
        Ok(lead.affine(-1.0, confidence)?.relu()?.neg()?)
    }
}
