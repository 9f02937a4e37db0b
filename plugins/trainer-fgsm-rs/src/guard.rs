//! The guard against catastrophic overfitting.

use mrpf_api::prelude::*;

/// Attacks one batch after each epoch.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The attack.
    pub ascent: Ascent,
    /// Share of the batch by which robust accuracy may fall from one epoch to the next.
    pub drop: f64,
}

impl Guard {
    /// Share of a batch that is right under the attack.
    pub fn robust_accuracy(&self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<f64> {
        let start = self.ascent.starting_images(&step.cx, batch)?;
        Ok(self.attack_from(step, network, batch, &start)?.1)
    }

    /// The attacked images, begun at given ones, and the share that is right.
    ///
    /// As there the network normalises by the batch, and images that are misclassified already stay where they are.
    pub fn attack_from(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<(Tensor, f64)> {
        let frozen = FrozenNetwork::in_training_mode(network)?;
        let climbed = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
        let mut images = start.clone();
        for _ in 0..self.ascent.steps {
            step.cx.check_interrupt()?;
            let at = frozen.input_gradient(&images, &climbed)?;
            let moves: Vec<u8> = loss::correct(&at.logits, &batch.labels)?.into_iter().map(u8::from).collect();
            let moves = Tensor::from_vec(moves, (batch.len(), 1, 1, 1), images.device())?;
            let moved = self.ascent.step(&batch.images, &images, &at.gradient)?;
            images = moves.broadcast_as(images.shape())?.where_cond(&moved, &images)?;
        }
        let right = loss::correct(&frozen.logits(&images)?, &batch.labels)?;
        let share = right.iter().filter(|&&right| right).count() as f64 / right.len().max(1) as f64;
        Ok((images, share))
    }

    /// Why training must end, if it must.
    pub fn alarm(&self, before: f64, after: f64) -> Option<String> {
        (after - before < -self.drop).then(|| {
            let (before, after, steps) = (100.0 * before, 100.0 * after, self.ascent.steps);
            format!("{after:.1} % of an epoch's first batch survive PGD-{steps}, {before:.1} % did an epoch earlier (catastrophic overfitting)")
        })
    }
}
