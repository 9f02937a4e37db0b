//! One training stage from start to end, resumable after every epoch.

use mrpf_api::context::{CallContext, Watcher};
use mrpf_api::data::LoadedData;
use mrpf_api::network::Network;
use mrpf_api::numeric::Precision;
use mrpf_api::random::Streams;
use mrpf_api::trainer::{AdversarialTrainer, EpochEnd};
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::time::Instant;

use super::checkpoint::{Checkpoint, Progress, State};
use super::device_images::DeviceImages;
use super::epoch::train_epoch;
use super::holdout::Split;
use super::parts::Parts;
use super::settings::{Select, TrainingSettings};
use super::sgd::Sgd;
use super::validate::validate;
use crate::event::{Event, EventSink};

/// A training stage to be done.
pub struct TrainingJob<'a> {
    /// Name of the stage in events.
    pub stage: &'a str,
    /// The network to train, at its start.
    pub network: Network,
    /// The network to learn from, for trainers that need one.
    pub teacher: Option<&'a Network>,
    /// The data.
    pub data: &'a LoadedData,
    /// Which images are trained on.
    pub split: &'a Split,
    /// The settings.
    pub settings: &'a TrainingSettings,
    /// Random streams of this stage.
    pub streams: Streams,
    /// Where the state is kept after each epoch.
    pub checkpoint: Option<Checkpoint<'a>>,
    /// Told what happens.
    pub events: &'a dyn EventSink,
    /// Progress inside a call, and the wish to stop.
    pub watcher: &'a dyn Watcher,
}

/// What an epoch gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch from 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean training loss.
    pub loss: f64,
    /// Share of the images trained on that were classified rightly while training.
    pub train_accuracy: f64,
    /// Clean accuracy on the held-out images, if any are held out.
    pub holdout_clean: Option<f64>,
    /// Accuracy under the validation attack on the held-out images, if any are held out.
    pub holdout_robust: Option<f64>,
}

/// A trained network.
#[derive(Debug)]
pub struct Trained {
    /// The network of the chosen epoch.
    pub network: Network,
    /// One record per epoch.
    pub history: Vec<EpochRecord>,
    /// The chosen epoch from 1; 0 if no epoch was trained.
    pub chosen_epoch: usize,
    /// Why the trainer ended the training before its last epoch, if it did.
    pub stopped: Option<String>,
}

/// Trains.
///
/// # Errors
/// [`ErrorKind::Settings`] if the trainer needs a teacher and there is none;
/// [`ErrorKind::Device`] if a GPU fails, or has no room for two images;
/// [`ErrorKind::Interrupted`] after the state of the last whole epoch has been saved; [`ErrorKind::Numeric`] if the loss is not
/// finite or a parameter gets no gradient, naming the step or the parameter.
pub fn train(job: TrainingJob<'_>) -> Result<Trained> {
    job.network.set_precision(job.settings.precision);
    let trained = train_epochs(&job);
    // What comes after a stage, and what is saved of it, is computed in f32, by other passes than those that are ready now.
    job.network.set_precision(Precision::F32);
    job.network.release_memory()?;
    let (Progress { history, best_epoch, .. }, stopped) = trained?;
    Ok(Trained { network: job.network, history, chosen_epoch: best_epoch, stopped })
}

/// Trains the job's network, which is that of the chosen epoch afterwards; what was reached, and why it ended early if it did.
fn train_epochs(job: &TrainingJob<'_>) -> Result<(Progress, Option<String>)> {
    let network = &job.network;
    let mut trainer = job.settings.trainer.make::<dyn AdversarialTrainer>()?;
    if trainer.needs_teacher() {
        let teacher = job.teacher.ok_or_else(|| missing_teacher(&job.settings.trainer.name))?;
        trainer.teacher(teacher).context(|| format!("trainer `{}`, its teacher", job.settings.trainer.name))?;
    }
    let mut sgd = Sgd::new(job.settings);
    let (mut stopped, mut parts) = (None, Parts::default());
    let mut state = State::default();
    if let Some(found) = job.checkpoint.map(|checkpoint| State::load(&checkpoint, job)).transpose()?.flatten() {
        network.set_parameters(&found.parameters)?;
        network.set_statistics(found.statistics.clone())?;
        sgd.velocity.clone_from(&found.velocity);
        trainer.restore(found.trainer.clone())?;
        state = found;
    }
    let images = DeviceImages::of(job.data, network)?;
    let validating = CallContext::new(job.streams.child("validate"), job.watcher);
    for epoch in state.progress.history.len()..job.settings.epochs {
        let start = Instant::now();
        if epoch == 0 {
            state.parameters = network.snapshot()?;
            state.statistics = network.statistics();
        }
        let figures = train_epoch(job, trainer.as_mut(), &mut sgd, &mut parts, images.as_ref(), epoch)
            .map_err(|error| kept(job, epoch, error))?;
        if let EpochEnd::UndoAndStop(why) = figures.end {
            network.set_parameters(&state.parameters)?;
            network.set_statistics(state.statistics.clone())?;
            let (name, epochs) = (&job.settings.trainer.name, job.settings.epochs);
            let message =
                format!("trainer `{name}` undid epoch {} of {epochs} and ended the training: {why}", epoch + 1);
            job.events.send(Event::Warning { about: job.stage.into(), message: message.clone() });
            stopped = Some(message);
            break;
        }
        let holdout = validate(&validating, job, &parts, images.as_ref()).map_err(|error| kept(job, epoch, error))?;
        let record = EpochRecord {
            epoch: epoch + 1,
            learning_rate: figures.learning_rate,
            loss: figures.loss,
            train_accuracy: figures.accuracy,
            holdout_clean: holdout.map(|[clean, _]| clean),
            holdout_robust: holdout.map(|[_, robust]| robust),
        };
        let best = is_best(job.settings.select, &state.progress.history, &record);
        state.parameters = network.snapshot()?;
        state.statistics = network.statistics();
        state.velocity.clone_from(&sgd.velocity);
        state.trainer = trainer.state();
        state.progress.history.push(record.clone());
        if best {
            state.progress.best_epoch = epoch + 1;
            state.best_parameters.clone_from(&state.parameters);
            state.best_statistics.clone_from(&state.statistics);
        }
        if let Some(checkpoint) = &job.checkpoint {
            state.save(checkpoint, job)?;
        }
        job.events.send(Event::Epoch {
            stage: job.stage.into(),
            epoch: epoch + 1,
            epochs: job.settings.epochs,
            learning_rate: record.learning_rate,
            loss: record.loss,
            train_accuracy: record.train_accuracy,
            holdout_clean: record.holdout_clean,
            holdout_robust: record.holdout_robust,
            images_per_s: figures.images_per_s,
            gpu_busy: figures.gpu_busy,
            seconds: start.elapsed().as_secs_f64(),
            best,
        });
    }
    if state.progress.best_epoch > 0 {
        network.set_parameters(&state.best_parameters)?;
        network.set_statistics(state.best_statistics)?;
    }
    Ok((state.progress, stopped))
}

/// What to say where a trainer needs a teacher and has none.
pub(crate) fn missing_teacher(trainer: &str) -> Error {
    Error::new(ErrorKind::Settings, format!("trainer `{trainer}` learns from a teacher, and there is none"))
        .hint("name a saved network with the `teacher` setting beside the trainer; `mrpf run` fine-tunes with its own dense network when none is named")
}

/// Whether an epoch is the one to take so far; of equals the later. Without held-out images the last epoch is the best.
fn is_best(select: Select, history: &[EpochRecord], record: &EpochRecord) -> bool {
    let key = |record: &EpochRecord| {
        let (robust, clean) = (record.holdout_robust.unwrap_or(0.0), record.holdout_clean.unwrap_or(0.0));
        match select {
            Select::Best => (robust, clean),
            Select::BestClean => (clean, robust),
            Select::Last => (0.0, 0.0),
        }
    };
    let this = key(record);
    history.iter().map(key).all(|other| this >= other)
}

/// Says what is kept when training is stopped in the middle, or a GPU fails.
fn kept(job: &TrainingJob<'_>, epoch: usize, error: Error) -> Error {
    match (error.kind(), job.checkpoint, epoch) {
        (ErrorKind::Interrupted, Some(_), 0) => {
            Error::new(ErrorKind::Interrupted, "stopped on request before the first epoch was complete")
        }
        (ErrorKind::Interrupted, Some(Checkpoint { path, .. }), epoch) => {
            let message =
                format!("stopped on request; epoch {epoch} of {} is kept in {}", job.settings.epochs, path.display());
            Error::new(ErrorKind::Interrupted, message)
        }
        // What a GPU does when it fails cannot be mended here; what is on the disk is not touched by it.
        (ErrorKind::Device, Some(Checkpoint { path, .. }), epoch @ 1..) => error.context(format!(
            "after epoch {epoch} of {}, which is kept in {}",
            job.settings.epochs,
            path.display()
        )),
        _ => error,
    }
}
