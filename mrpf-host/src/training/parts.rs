//! A batch in parts, where the memory of a GPU is too small for it whole.

use mrpf_api::candle_core::Tensor;
use mrpf_api::data::Batch;
use mrpf_api::network::{LayerKind, Network, Weights};
use mrpf_api::trainer::{AdversarialTrainer, TrainingStep};
use mrpf_api::{Error, Result};

use super::job::TrainingJob;
use super::sgd::Sgd;
use super::step::train_step;
use crate::event::Event;

/// Batch norm needs two images.
const FEWEST: usize = 2;

/// How many images go through at a time, for the rest of a stage.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The most that have a chance to fit; none before memory was first too small.
    most: Option<usize>,
    /// What was last told to the user.
    told: Option<usize>,
}

impl Parts {
    /// How many images of `usual` are to be taken at a time.
    pub fn at_a_time(&self, usual: usize) -> usize {
        self.most.unwrap_or(usual).min(usual)
    }

    /// As [`train_step`] on the whole batch; with parts of half the size, again and again, where memory is too small.
    ///
    /// # Errors
    /// Those of [`train_step`], and the one that says that memory is full if parts of two images do not fit or the trainer cannot be given
    /// parts.
    pub fn step(
        &mut self,
        job: &TrainingJob<'_>,
        trainer: &mut dyn AdversarialTrainer,
        sgd: &mut Sgd,
        step: &TrainingStep<'_>,
        batch: &Batch,
        learning_rate: f64,
    ) -> Result<(f64, Tensor)> {
        let network = &job.network;
        loop {
            let before = Before::new(network, trainer, sgd);
            let parts = divided(batch, self.count(batch.len()))?;
            match train_step(trainer, network, sgd, step, &parts, learning_rate) {
                Err(error) if error.is_out_of_memory() => {
                    drop(parts);
                    self.divide(job, trainer, batch.len(), error)?;
                    before.put_back(network, trainer, sgd)?;
                    network.release_memory()?;
                }
                done => {
                    if done.is_ok() {
                        self.tell(job, batch.len());
                    }
                    return done;
                }
            }
        }
    }

    /// How many parts a batch goes through in; each has two images at least.
    fn count(&self, images: usize) -> usize {
        images.div_ceil(self.at_a_time(images).max(1)).min(images / FEWEST).max(1)
    }

    /// Halves the parts.
    fn divide(
        &mut self,
        job: &TrainingJob<'_>,
        trainer: &dyn AdversarialTrainer,
        images: usize,
        full: Error,
    ) -> Result<()> {
        let name = &job.settings.trainer.name;
        if !trainer.takes_parts() {
            let hint = format!(
                "trainer `{name}` takes its batches whole, so that they cannot go through in parts: set a smaller `batch` than {}",
                job.settings.batch
            );
            return Err(full.hint(hint));
        }
        let tried = images.div_ceil(self.count(images));
        let halved = Self { most: Some(tried.div_ceil(2).max(FEWEST)), told: self.told };
        if halved.count(images) == self.count(images) {
            let hint = format!(
                "the memory of the GPU has no room for {tried} images of this network: `nvidia-smi` shows who else holds some"
            );
            return Err(full.hint(hint));
        }
        *self = halved;
        Ok(())
    }

    /// Says once that batches are divided, when one has gone through that way.
    fn tell(&mut self, job: &TrainingJob<'_>, images: usize) {
        let count = self.count(images);
        if self.told == self.most || count == 1 {
            return;
        }
        self.told = self.most;
        let (most, is_even) = (images.div_ceil(count), images.is_multiple_of(count));
        let size = if is_even { most.to_string() } else { format!("up to {most}") };
        let has_norm = |network: &Network| {
            network.declaration().layers.iter().any(|layer| matches!(layer.kind, LayerKind::BatchNorm(_)))
        };
        let norm = if has_norm(&job.network) { "; batch norm normalises by each part" } else { "" };
        let message = format!(
            "the GPU's memory is full: from now on a batch of {images} goes through in {count} parts of {size}{norm}"
        );
        job.events.send(Event::Warning { about: job.stage.into(), message });
    }
}

/// The batch in parts, whose sizes differ by one image at most.
fn divided(batch: &Batch, count: usize) -> Result<Vec<Batch>> {
    let start = |part: usize| part * batch.len() / count;
    (0..count).map(|part| batch.part(start(part)..start(part + 1))).collect()
}

/// What a step changes before it moves the parameters, which are last.
struct Before {
    statistics: Weights,
    velocity: Weights,
    trainer: Weights,
}

impl Before {
    fn new(network: &Network, trainer: &dyn AdversarialTrainer, sgd: &Sgd) -> Self {
        Self { statistics: network.statistics(), velocity: sgd.velocity.clone(), trainer: trainer.state() }
    }

    fn put_back(self, network: &Network, trainer: &mut dyn AdversarialTrainer, sgd: &mut Sgd) -> Result<()> {
        sgd.velocity = self.velocity;
        network.set_statistics(self.statistics)?;
        trainer.restore(self.trainer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_test_support::resnet8;

    #[test]
    fn parts_are_as_few_and_as_even_as_may_be_and_none_has_one_image() -> Result<()> {
        for (most, images, expected) in [
            (None, 128, vec![128]),
            (Some(64), 128, vec![64, 64]),
            (Some(64), 40, vec![40]),
            (Some(64), 129, vec![43, 43, 43]),
            (Some(2), 7, vec![2, 2, 3]),
            (Some(2), 3, vec![3]),
        ] {
            let count = Parts { most, told: None }.count(images);
            let (_, batch) = resnet8()?;
            let rows: Vec<usize> = (0..images).map(|row| row % batch.len()).collect();
            let whole = batch.select(&rows)?;
            let parts = divided(&whole, count)?;
            assert_eq!(parts.iter().map(Batch::len).collect::<Vec<_>>(), expected);
            assert_eq!(parts.iter().flat_map(|part| part.indices.clone()).collect::<Vec<_>>(), whole.indices);
        }
        Ok(())
    }
}
