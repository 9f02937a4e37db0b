//! What all stages of a run share: settings, data, the run directory, and the order of the stages.

use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::{CallContext, Watcher};
use mrpf_api::coupling::{Cost, cost};
use mrpf_api::data::{DataSource, LoadedData};
use mrpf_api::network::{Declaration, Network};
use mrpf_api::random::Streams;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::event::{Event, EventSink};
use crate::experiment::Experiment;
use crate::run_dir::RunDir;
use crate::training::Split;

/// How many stages a command goes through, for the numbers beside their names.
#[derive(Debug, Clone, Copy)]
pub struct SessionPlan {
    /// Stages in all.
    pub stages: usize,
}

/// A run in progress.
pub struct Session<'a> {
    /// The settings.
    pub experiment: Experiment,
    /// Where results go.
    pub dir: &'a RunDir,
    /// The images.
    pub data: LoadedData,
    /// Which training images are trained on.
    pub split: Split,
    /// Told what happens.
    pub events: &'a dyn EventSink,
    /// Progress inside a call, and the wish to stop.
    pub watcher: &'a dyn Watcher,
    /// Randomness.
    pub streams: Streams,
    plan: SessionPlan,
    stage: AtomicUsize,
}

impl<'a> Session<'a> {
    /// Loads the data and sets out.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the data cannot be loaded or is too small for the held-out share.
    pub fn open(
        experiment: Experiment,
        dir: &'a RunDir,
        plan: SessionPlan,
        events: &'a dyn EventSink,
        watcher: &'a dyn Watcher,
    ) -> Result<Self> {
        let name = &experiment.data.name.name;
        let about = || format!("data set `{name}`");
        let data = experiment.data.name.make::<dyn DataSource>()?.load(experiment.data.dir.as_deref()).context(about)?;
        let streams = Streams::new(experiment.seed);
        let split = Split::new(&data, experiment.data.holdout, experiment.data.train_images, &streams.child("holdout"))?;
        events.send(Event::DataLoaded {
            name: name.clone(),
            train: split.train.len(),
            holdout: split.holdout.len(),
            test: data.test.len(),
            shape: data.shape().dims(),
            classes: data.classes(),
        });
        Ok(Self { experiment, dir, data, split, events, watcher, streams, plan, stage: AtomicUsize::new(0) })
    }

    /// The declared network, with fresh weights from the seed.
    pub fn fresh_network(&self) -> Result<Network> {
        let network = Network::initialise(self.declare()?, &self.streams.child("initialise"), DType::F32, &Device::Cpu)?;
        let Cost { params, macs, .. } = cost(network.declaration())?;
        let architecture = self.experiment.network.architecture.name.clone();
        self.events.send(Event::NetworkBuilt { architecture, params, macs });
        Ok(network)
    }

    fn declare(&self) -> Result<Declaration> {
        let choice = &self.experiment.network.architecture;
        let request = ArchitectureRequest {
            input: self.data.shape(),
            classes: self.data.classes(),
            mean: self.data.mean.clone(),
            std: self.data.std.clone(),
        };
        choice.make::<dyn Architecture>()?.declare(&request).context(|| format!("architecture `{}`", choice.name))
    }

    /// Checks that a saved network fits the data.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] saying what each has.
    pub fn check_fits(&self, network: &Network) -> Result<()> {
        let declaration = network.declaration();
        let (has, classes) = (declaration.input.dims(), declaration.classes);
        if has != self.data.shape().dims() || classes != self.data.classes() {
            let message = format!(
                "the network takes images of shape {has:?} in {classes} classes, but data set `{}` has {:?} in {}",
                self.experiment.data.name.name,
                self.data.shape().dims(),
                self.data.classes()
            );
            return Err(Error::new(ErrorKind::Checkpoint, message).hint("name the data the network was trained on with --data"));
        }
        Ok(())
    }

    /// A context whose streams are those of the given name.
    pub fn context(&self, name: &str) -> CallContext<'_> {
        CallContext { streams: self.streams.child(name), watcher: self.watcher }
    }

    /// Runs one stage: announces it, and says how long it took. `work` returns its result and whether it was there already.
    pub fn stage<T>(&self, name: &str, work: impl FnOnce() -> Result<(T, bool)>) -> Result<T> {
        let number = self.stage.fetch_add(1, Ordering::Relaxed) + 1;
        self.events.send(Event::StageStarted { stage: name.into(), number, of: self.plan.stages.max(number) });
        let start = Instant::now();
        let (result, reused) = work().context(|| name.to_owned())?;
        let seconds = start.elapsed().as_secs_f64();
        self.events.send(Event::StageFinished { stage: name.into(), seconds, reused });
        Ok(result)
    }
}
