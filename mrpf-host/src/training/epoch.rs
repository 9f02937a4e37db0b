//! One epoch in the order it happens.

use mrpf_api::context::CallContext;
use mrpf_api::numeric::loss;
use mrpf_api::random::Streams;
use mrpf_api::trainer::{AdversarialTrainer, EpochEnd, TrainingStep};
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::time::Instant;

use super::batches::Batches;
use super::device_images::DeviceImages;
use super::job::TrainingJob;
use super::parts::Parts;
use super::prefetch::prefetch;
use super::sgd::Sgd;
use crate::device::Busy;
use crate::event::Event;

/// What one epoch gave.
pub(super) struct EpochFigures {
    /// Mean loss of the images.
    pub loss: f64,
    /// Share of the images trained on that were classified rightly.
    pub accuracy: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Images a second.
    pub images_per_s: f64,
    /// Mean share of the time in which the GPU ran anything, where the driver says so.
    pub gpu_busy: Option<f64>,
    /// What the trainer says of it.
    pub end: EpochEnd,
}

/// Trains the job's network for epoch `epoch` (from 0); `images` are the training images on the device, if they lie there.
pub(super) fn train_epoch(
    job: &TrainingJob<'_>,
    trainer: &mut dyn AdversarialTrainer,
    sgd: &mut Sgd,
    parts: &mut Parts,
    images: Option<&DeviceImages>,
    epoch: usize,
) -> Result<EpochFigures> {
    let (settings, network) = (job.settings, &job.network);
    let streams = job.streams.child("epoch").child(epoch);
    let batches = shuffled_batches(&job.split.train, settings.batch, &streams);
    let replays = trainer.replays().max(1);
    // A replay is a step of its own for the learning rate, as in the reference code of Free-AT (Wong et al. 2020).
    let steps = batches.len() * settings.epochs * replays;
    let step = |cx| TrainingStep { cx, epoch, epochs: settings.epochs, label_smoothing: settings.label_smoothing };
    let total: usize = batches.iter().map(Vec::len).sum();
    let (mut done, mut loss_sum, mut right, mut learning_rate) = (0, 0.0, 0, 0.0);
    let (start, busy) = (Instant::now(), Busy::watch(network.device()));
    let batch =
        Batches { data: job.data, augment: &settings.augment, network, images, streams: streams.child("augment") };
    let prepared = |at: usize| batch.prepare(&batches[at]);
    prefetch(batches.len(), prepared, |prepared| -> Result<()> {
        for (at, prepared) in prepared.into_iter().enumerate() {
            if job.watcher.interrupted() {
                return Err(Error::new(ErrorKind::Interrupted, "stopped on request"));
            }
            let batch = batch.finish(prepared?)?;
            for replay in 0..replays {
                learning_rate = settings.learning_rate.at((epoch * batches.len() + at) * replays + replay, steps);
                let cx = CallContext::new(streams.child("step").child(at).child(replay), job.watcher);
                let about = || format!("trainer `{}`, epoch {} step {}", settings.trainer.name, epoch + 1, at + 1);
                let (value, logits) = parts.step(job, trainer, sgd, &step(cx), &batch, learning_rate).context(about)?;
                if replay == 0 {
                    loss_sum += value * batch.len() as f64;
                    right += loss::correct(&logits, &batch.labels)?.iter().filter(|&&right| right).count();
                }
            }
            done += batch.len();
            job.events.send(Event::Progress {
                what: format!("epoch {}/{}", epoch + 1, settings.epochs),
                done,
                total,
                loss: Some(loss_sum / done as f64),
                accuracy: Some(right as f64 / done as f64),
                images_per_s: Some(done as f64 / start.elapsed().as_secs_f64().max(1e-9)),
                gpu_busy: busy.share(),
            });
        }
        Ok(())
    })?;
    let cx = CallContext::new(streams.child("end"), job.watcher);
    let about = || format!("trainer `{}`, end of epoch {}", settings.trainer.name, epoch + 1);
    let end = trainer.end_epoch(&step(cx), network).context(about)?;
    let seen = done.max(1) as f64;
    let images_per_s = seen / start.elapsed().as_secs_f64().max(1e-9);
    let (loss, accuracy, gpu_busy) = (loss_sum / seen, right as f64 / seen, busy.share());
    Ok(EpochFigures { loss, accuracy, learning_rate, images_per_s, gpu_busy, end })
}

/// The images in a new order, in batches. A last batch of one image joins the one before: batch norm needs two.
fn shuffled_batches(images: &[usize], batch: usize, streams: &Streams) -> Vec<Vec<usize>> {
    let mut order = images.to_vec();
    streams.child("shuffle").stream().shuffle(&mut order);
    let mut batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    if batches.len() > 1
        && let Some(last) = batches.pop_if(|last| last.len() == 1)
        && let Some(before) = batches.last_mut()
    {
        before.extend(last);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_used_once_and_no_batch_has_one() {
        for count in [2, 7, 8, 9, 17] {
            let images: Vec<usize> = (100..100 + count).collect();
            let batches = shuffled_batches(&images, 4, &Streams::new(0));
            assert!(batches.iter().all(|batch| batch.len() >= 2));
            let mut all = batches.concat();
            all.sort_unstable();
            assert_eq!(all, images);
        }
    }
}
