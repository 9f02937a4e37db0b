//! Keeps a plugin's panic from taking the process along: every call into a plugin passes through here.
//!
//! A panic becomes an [`Error`] of kind [`ErrorKind::Plugin`] with the plugin's crate, the message and the place. Where a method
//! cannot fail, the error travels as the payload of an unwinding that [`catch`] at the top of the program turns back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::backprop::GradStore;

use super::Registration;
use crate::allocation::{Allocation, AllocationRequest};
use crate::architecture::{Architecture, ArchitectureRequest};
use crate::attack::{Attack, AttackMeans, AttackOutcome, AttackPart, ThreatModel};
use crate::budget::Solution;
use crate::context::{CallContext, Watcher};
use crate::coupling::ChannelGroup;
use crate::criterion::Criterion;
use crate::data::{Batch, DataSource, Download, ImageShape, LoadedData};
use crate::foresight::Foresight;
use crate::network::{Classifier, Declaration, Network, Weights};
use crate::schedule::PruningSchedule;
use crate::sensitivity::{ModuleSensitivity, SensitivityMetric};
use crate::trainer::{AdversarialTrainer, EpochEnd, TrainingLoss, TrainingStep};
use crate::{Error, ErrorKind, Result};

/// How many calls into plugins are in progress, in all threads.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The plugins that are being called, in the order of the calls.
static CALLED: Mutex<Vec<&'static Registration>> = Mutex::new(Vec::new());

/// Where the last panic inside a plugin happened.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Keeps quiet about panics inside plugins, which are told as errors, and leaves all others as they were. Called once by the program.
pub fn tell_plugin_panics_as_errors() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        if CALLS.load(Ordering::SeqCst) == 0 {
            return others(panic);
        }
        if let (Ok(mut place), Some(location)) = (PLACE.lock(), panic.location()) {
            *place = Some(format!("{}:{}", location.file(), location.line()));
        }
    }));
}

/// Runs the program's work; a plugin's failure in a method that has no way to say so comes out as an error here.
pub fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => match payload.downcast::<Error>() {
            Ok(error) => Err(*error),
            Err(other) => resume_unwind(other),
        },
    }
}

/// Calls a plugin's function; a panic becomes an error that names the plugin.
pub(super) fn guarded<T>(registration: &'static Registration, call: impl FnOnce() -> Result<T>) -> Result<T> {
    CALLS.fetch_add(1, Ordering::SeqCst);
    called().push(registration);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    let mut open = called();
    if let Some(at) = open.iter().rposition(|one| std::ptr::eq(*one, registration)) {
        open.remove(at);
    }
    drop(open);
    CALLS.fetch_sub(1, Ordering::SeqCst);
    outcome.unwrap_or_else(|payload| match payload.downcast::<Error>() {
        // A plugin that was called by this one failed already.
        Ok(error) => Err(*error),
        Err(payload) => Err(panicked(registration, payload.as_ref())),
    })
}

fn called() -> MutexGuard<'static, Vec<&'static Registration>> {
    CALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plugins that are being called at this moment, by whatever thread, the first call first; for messages.
pub fn plugins_being_called() -> Vec<&'static Registration> {
    called().clone()
}

/// The same where the function has no way to fail.
fn unwinding<T>(registration: &'static Registration, call: impl FnOnce() -> T) -> T {
    guarded(registration, || Ok(call())).unwrap_or_else(|error| resume_unwind(Box::new(error)))
}

fn panicked(registration: &Registration, payload: &(dyn Any + Send)) -> Error {
    let said = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into());
    let place = PLACE.lock().ok().and_then(|mut place| place.take());
    let place = place.map_or(String::new(), |place| format!(" (at {place})"));
    let message = format!("{} failed with a panic: {said}{place}", registration.described());
    Error::new(ErrorKind::Plugin, message).hint("a fault of the plugin; what was finished before it is kept")
}

impl Registration {
    /// The plugin with its crate, and its library if it came with one, for messages.
    pub fn described(&self) -> String {
        let file = self.origin.library().and_then(|library| library.path.file_name().map(Path::new));
        let place = file.map_or(String::new(), |file| format!(", {}", file.display()));
        format!("plugin `{}` ({} {}{place})", self.name, self.package, self.version)
    }
}

/// A plugin behind the guard.
pub(super) struct Guarded<T: ?Sized> {
    pub(super) plugin: Box<T>,
    pub(super) registration: &'static Registration,
}

impl DataSource for Guarded<dyn DataSource> {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        guarded(self.registration, || self.plugin.load(directory))
    }

    fn load_watched(&self, directory: Option<&Path>, watcher: &dyn Watcher) -> Result<LoadedData> {
        guarded(self.registration, || self.plugin.load_watched(directory, watcher))
    }

    fn downloads(&self) -> Vec<Download> {
        unwinding(self.registration, || self.plugin.downloads())
    }
}

impl Architecture for Guarded<dyn Architecture> {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        guarded(self.registration, || {
            let declaration = self.plugin.declare(request)?;
            // Whether or not it was made by the builder.
            declaration.wiring()?;
            Ok(declaration)
        })
        // What cannot be declared is what was asked for.
        .map_err(|error| match error.kind() {
            ErrorKind::Declaration => error.with_kind(ErrorKind::Settings),
            _ => error,
        })
    }
}

impl AdversarialTrainer for Guarded<dyn AdversarialTrainer> {
    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        guarded(self.registration, || self.plugin.loss(step, network, batch))
    }

    fn check(&self, network: &Declaration, epochs: usize) -> Result<Foresight> {
        guarded(self.registration, || self.plugin.check(network, epochs))
    }

    fn replays(&self) -> usize {
        unwinding(self.registration, || self.plugin.replays())
    }

    fn takes_parts(&self) -> bool {
        unwinding(self.registration, || self.plugin.takes_parts())
    }

    fn needs_teacher(&self) -> bool {
        unwinding(self.registration, || self.plugin.needs_teacher())
    }

    fn teacher(&mut self, network: &Network) -> Result<()> {
        guarded(self.registration, || self.plugin.teacher(network))
    }

    fn perturb_weights(
        &mut self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
    ) -> Result<Option<Weights>> {
        guarded(self.registration, || self.plugin.perturb_weights(step, network, batch))
    }

    fn after_backward(&mut self, step: &TrainingStep<'_>, gradients: &GradStore) -> Result<()> {
        guarded(self.registration, || self.plugin.after_backward(step, gradients))
    }

    fn end_epoch(&mut self, step: &TrainingStep<'_>, network: &Network) -> Result<EpochEnd> {
        guarded(self.registration, || self.plugin.end_epoch(step, network))
    }

    fn state(&self) -> Weights {
        unwinding(self.registration, || self.plugin.state())
    }

    fn restore(&mut self, state: Weights) -> Result<()> {
        guarded(self.registration, || self.plugin.restore(state))
    }
}

impl SensitivityMetric for Guarded<dyn SensitivityMetric> {
    fn check(&self, network: &Declaration) -> Result<Foresight> {
        guarded(self.registration, || self.plugin.check(network))
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        guarded(self.registration, || self.plugin.measure(cx, network, data))
    }
}

impl Criterion for Guarded<dyn Criterion> {
    fn check(&self, network: &Declaration) -> Result<Foresight> {
        guarded(self.registration, || self.plugin.check(network))
    }

    fn prepare(&mut self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<()> {
        guarded(self.registration, || self.plugin.prepare(cx, network, data))
    }

    fn scores(&self, cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        guarded(self.registration, || self.plugin.scores(cx, network, group))
    }
}

impl Allocation for Guarded<dyn Allocation> {
    fn needs_sensitivity(&self) -> bool {
        unwinding(self.registration, || self.plugin.needs_sensitivity())
    }

    fn needs_scores(&self) -> bool {
        unwinding(self.registration, || self.plugin.needs_scores())
    }

    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        guarded(self.registration, || self.plugin.allocate(request))
    }
}

impl PruningSchedule for Guarded<dyn PruningSchedule> {
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
        unwinding(self.registration, || self.plugin.ratio(progress, final_ratio))
    }
}

impl Attack for Guarded<dyn Attack> {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        guarded(self.registration, || self.plugin.attack(cx, classifier, threat, batch))
    }

    fn check(&self, threat: &ThreatModel, classes: usize, shape: ImageShape) -> Result<Foresight> {
        guarded(self.registration, || self.plugin.check(threat, classes, shape))
    }

    fn means(&self) -> AttackMeans {
        unwinding(self.registration, || self.plugin.means())
    }

    fn seeks_nearest(&self) -> bool {
        unwinding(self.registration, || self.plugin.seeks_nearest())
    }

    fn parts(&self, classes: usize) -> Result<Vec<AttackPart>> {
        let registration = self.registration;
        let parts = guarded(registration, || self.plugin.parts(classes))?;
        let guard = |(name, plugin)| -> AttackPart { (name, Box::new(Self { plugin, registration })) };
        Ok(parts.into_iter().map(guard).collect())
    }
}
