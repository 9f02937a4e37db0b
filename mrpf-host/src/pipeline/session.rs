//! What all stages of a run share: settings, data, the run directory, and the order of the stages.

use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::{CallContext, Watcher};
use mrpf_api::coupling::{Cost, cost};
use mrpf_api::data::{DataSource, LoadedData};
use mrpf_api::network::{Declaration, Network};
use mrpf_api::numeric::Precision;
use mrpf_api::random::Streams;
use mrpf_api::registry::PluginLibrary;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::device::OpenDevice;
use crate::event::{Event, EventSink};
use crate::experiment::Experiment;
use crate::image_digest::ImageDigests;
use crate::load_data::load_data;
use crate::output::{Both, MetricsFile, TensorBoard};
use crate::plugin_library::opened as opened_libraries;
use crate::run_dir::RunDir;
use crate::training::Split;

/// A run directory with the settings that it was opened with.
#[derive(Debug)]
pub struct Opened {
    /// The settings.
    pub experiment: Experiment,
    /// Where results go.
    pub dir: RunDir,
    /// What is run, for the first line.
    pub name: String,
    /// Whether an earlier run is continued.
    pub resumed: bool,
    /// Where to compute.
    pub device: OpenDevice,
    /// What goes on with the work when it was stopped, as a clause; none where it is begun anew.
    pub goes_on: Option<String>,
}

/// A run in progress. Events sent to it go to the console and into the run's `metrics.jsonl`.
pub struct Session<'a> {
    /// The settings.
    pub experiment: Experiment,
    /// Where results go.
    pub dir: RunDir,
    /// The images.
    pub data: LoadedData,
    /// Digests of the images.
    pub digests: ImageDigests,
    /// Which training images are trained on.
    pub split: Split,
    /// Progress inside a call, and the wish to stop.
    pub watcher: &'a dyn Watcher,
    /// Randomness.
    pub streams: Streams,
    /// Where networks and images go.
    pub device: Device,
    goes_on: Option<String>,
    console: &'a dyn EventSink,
    metrics: MetricsFile,
    curves: TensorBoard,
    stages: usize,
    stage: AtomicUsize,
    stage_name: Mutex<String>,
    has_told_of_precision: AtomicBool,
}

impl EventSink for Session<'_> {
    fn send(&self, event: Event) {
        self.metrics.send(event.clone());
        self.curves.send(event.clone());
        self.console.send(event);
    }
}

/// What watches the calls of a run: what they warn of is an event of the stage that they belong to.
impl Watcher for Session<'_> {
    fn progress(&self, what: &str, done: usize, total: usize) {
        self.watcher.progress(what, done, total);
    }

    fn warn(&self, message: &str) {
        let about = self.stage_name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.send(Event::Warning { about, message: message.into() });
    }

    fn interrupted(&self) -> bool {
        self.watcher.interrupted()
    }
}

impl<'a> Session<'a> {
    /// Loads the data and sets out; `stages` is how many stages there will be, for the numbers beside their names.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the data cannot be loaded or is too small for the held-out share.
    pub fn open(opened: Opened, stages: usize, console: &'a dyn EventSink, watcher: &'a dyn Watcher) -> Result<Self> {
        let Opened { experiment, dir, name, resumed, device, goes_on } = opened;
        let metrics = MetricsFile::open(&dir.metrics())?;
        let curves = TensorBoard::new(&dir.path().join("tensorboard"));
        let started = Event::RunStarted {
            name,
            directory: dir.path().to_owned(),
            seed: experiment.seed,
            version: env!("CARGO_PKG_VERSION").into(),
            threads: mrpf_api::rayon::current_num_threads(),
            device: device.name,
            resumed,
        };
        Both(&metrics, console).send(started);
        for library in opened_libraries() {
            let PluginLibrary { path, sha256, package, version } = library.clone();
            Both(&metrics, console).send(Event::LibraryOpened { package, version, path, sha256 });
        }
        let set = &experiment.data.name.name;
        let source = experiment.data.name.make::<dyn DataSource>()?;
        let events = Both(&metrics, console);
        let data = load_data(set, &*source, experiment.data.dir.as_deref(), watcher, &events)?;
        let streams = Streams::new(experiment.seed);
        let split_streams = experiment.data.split_seed.map_or_else(|| streams.clone(), Streams::new);
        let split =
            Split::new(&data, experiment.data.holdout, experiment.data.train_images, &split_streams.child("holdout"))?;
        let loaded = Event::DataLoaded {
            name: set.clone(),
            train: split.train.len(),
            holdout: split.holdout.len(),
            test: data.test.len(),
            shape: data.shape().dims(),
            classes: data.classes(),
        };
        Both(&metrics, console).send(loaded);
        for message in split.warnings(&data) {
            Both(&metrics, console).send(Event::Warning { about: format!("data set `{set}`"), message });
        }
        Ok(Self {
            experiment,
            dir,
            digests: ImageDigests::of(&data),
            data,
            split,
            watcher,
            streams,
            device: device.device,
            goes_on,
            console,
            metrics,
            curves,
            stages,
            stage: AtomicUsize::new(0),
            stage_name: Mutex::default(),
            has_told_of_precision: AtomicBool::new(false),
        })
    }

    /// The declared network, with fresh weights from the seed.
    pub fn fresh_network(&self) -> Result<Network> {
        let network =
            Network::initialise(self.declare()?, &self.streams.child("initialise"), DType::F32, &self.device)?;
        let Cost { params, macs, .. } = cost(network.declaration())?;
        let architecture = self.experiment.network.architecture.name.clone();
        self.send(Event::NetworkBuilt { architecture, params, macs });
        Ok(network)
    }

    /// The experiment's network without weights.
    pub fn declare(&self) -> Result<Declaration> {
        let choice = &self.experiment.network.architecture;
        let request = ArchitectureRequest {
            input: self.data.shape(),
            classes: self.data.classes(),
            mean: self.data.mean.clone(),
            std: self.data.std.clone(),
        };
        choice.make::<dyn Architecture>()?.declare(&request).context(|| format!("architecture `{}`", choice.name))
    }

    /// A network that this run has kept, on the device, if it is there.
    pub fn kept_network(&self, name: &str) -> Result<Option<Network>> {
        self.dir.read_network(name)?.map(|network| network.to_device(&self.device)).transpose()
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
            return Err(
                Error::new(ErrorKind::Checkpoint, message).hint("name the data the network was trained on with --data")
            );
        }
        Ok(())
    }

    /// A context whose streams are those of the given name.
    pub fn context(&self, name: &str) -> CallContext<'_> {
        CallContext::new(self.streams.child(name), self)
    }

    /// Says once where a precision that is asked for changes nothing.
    pub(super) fn tell_of_precision(&self, stage: &str, asked: Precision, network: &Network) {
        let found = network.computed_in(asked);
        if asked == found || asked == Precision::F32 || self.has_told_of_precision.swap(true, Ordering::Relaxed) {
            return;
        }
        let message = format!(
            "the precision {asked} changes nothing here, {found} is computed in: only NVIDIA GPUs have others, for networks that the engine there knows"
        );
        self.send(Event::Warning { about: stage.into(), message });
    }

    /// Says how to go on where a GPU has failed in the middle of the work. Full memory is no such failure: it would be full again.
    fn with_way_on(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Device || error.is_out_of_memory() {
            return error;
        }
        let hint = match (&self.goes_on, error.hint_text()) {
            (Some(way), Some(hint)) => format!("{hint}; {way}"),
            (Some(way), None) => way.clone(),
            (None, _) => {
                "the GPU, or its driver, has failed; this command has no --resume and begins anew, on any device".into()
            }
        };
        error.hint(hint)
    }

    /// Runs one stage: announces it, and says how long it took. `work` returns its result and whether it was there already.
    pub fn stage<T>(&self, name: &str, work: impl FnOnce() -> Result<(T, bool)>) -> Result<T> {
        name.clone_into(&mut self.stage_name.lock().unwrap_or_else(PoisonError::into_inner));
        let number = self.stage.fetch_add(1, Ordering::Relaxed) + 1;
        self.send(Event::StageStarted { stage: name.into(), number, of: self.stages.max(number) });
        let start = Instant::now();
        let (result, reused) = work().map_err(|error| self.with_way_on(error)).context(|| name.to_owned())?;
        let seconds = start.elapsed().as_secs_f64();
        self.send(Event::StageFinished { stage: name.into(), seconds, reused });
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Base, Sources};
    use mrpf_api::context::Unwatched;

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl EventSink for Warnings {
        fn send(&self, event: Event) {
            if let Event::Warning { about, message } = event {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{about}: {message}"));
            }
        }
    }

    #[test]
    fn the_user_is_told_what_a_precision_changes_and_how_to_go_on_when_a_gpu_is_lost() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let opened = Opened {
            experiment: Experiment::load(&Sources { base: Base::BuiltIn, ..Sources::default() })?,
            dir: RunDir::create(&folder.path().join("run"))?,
            name: "run".into(),
            resumed: false,
            device: OpenDevice::default(),
            goes_on: Some("`mrpf run --resume run` goes on from there".into()),
        };
        let warnings = Warnings::default();
        let session = Session::open(opened, 1, &warnings, &Unwatched)?;
        let network = session.fresh_network()?;
        for (asked, told) in [(Precision::F32, 0), (Precision::F16, 1), (Precision::Bf16, 1)] {
            session.tell_of_precision("finetune", asked, &network);
            assert_eq!(warnings.0.lock().unwrap_or_else(PoisonError::into_inner).len(), told);
        }
        assert!(
            warnings.0.lock().unwrap_or_else(PoisonError::into_inner)[0]
                .starts_with("finetune: the precision f16 changes nothing")
        );
        let stage = |text: &str| {
            let text = text.to_owned();
            session.stage("attack", || -> Result<((), bool)> { Err(mrpf_api::candle_core::Error::Msg(text).into()) })
        };
        let lost = stage("DriverError(CUDA_ERROR_LAUNCH_FAILED, \"unspecified launch failure\")").expect_err("lost");
        assert_eq!(crate::failure::exit_code(lost.kind()), 7);
        let hint = lost.hint_text().unwrap_or_default();
        assert!(hint.ends_with("on any device; `mrpf run --resume run` goes on from there"), "{hint}");
        let full = stage("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").expect_err("full");
        assert!(full.hint_text().is_some_and(|hint| hint.contains("a smaller batch")), "{full:?}");
        // Halved in one stage and in another; each says so once.
        for name in ["measure dense", "attack"] {
            session.stage(name, || {
                let cx = session.context("evaluate").short_of_memory(3);
                let mut parts = cx.parts(9, 4, || Ok(()));
                while parts.next_part(|_| Ok(()))?.is_some() {}
                Ok(((), false))
            })?;
            let warnings = warnings.0.lock().unwrap_or_else(PoisonError::into_inner);
            let told = format!("{name}: the GPU's memory is full: from now on images go through at most 2 at a time");
            assert_eq!(warnings.last(), Some(&told));
            assert_eq!(warnings.iter().filter(|warning| **warning == told).count(), 1);
        }
        Ok(())
    }
}
