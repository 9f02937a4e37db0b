//! How long stages take, from doing each kind of work once on a few images; and what each row would keep.

use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::Watcher;
use mrpf_api::coupling::{Cost, cost};
use mrpf_api::data::ImageSet;
use mrpf_api::network::{Classifier, Network};
use mrpf_api::numeric::loss;
use mrpf_api::random::Streams;
use mrpf_api::registry::{Kind, find};
use mrpf_api::schedule::PruningSchedule;
use mrpf_api::sensitivity::{ModuleSensitivity, SensitivityMetric};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

use super::stage::{Stage, Work};
use crate::device::OpenDevice;
use crate::evaluation::{Journal, evaluate};
use crate::event::Silent;
use crate::experiment::{DataSettings, EvaluateSettings, Experiment, PluginChoice, PruneSettings};
use crate::pipeline::{Opened, Session};
use crate::pruning::{PruneRecord, PruneStep, measure_layer_times, prune_step, rounds};
use crate::run_dir::RunDir;
use crate::training::{Split, TrainingJob, TrainingSettings, Validation, train};

/// Steps of training that are timed.
const STEPS: usize = 2;
/// A metric is tried with this part of its images, and with this many at least.
const PART: u64 = 8;
const FEWEST: u64 = 16;

/// A network cut as a row's would be.
#[derive(Debug)]
pub struct Tried {
    /// The network.
    pub network: Network,
    /// Cost of the dense network.
    pub dense: Cost,
    /// What was decided.
    pub record: PruneRecord,
}

/// A network with its costs, which are counted once.
#[derive(Debug)]
pub struct Priced {
    network: Network,
    cost: Cost,
}

impl Priced {
    /// Counts.
    pub fn new(network: Network) -> Result<Self> {
        Ok(Self { cost: cost(network.declaration())?, network })
    }
}

/// Does each kind of work on few images. Stages that differ only in their seeds are tried once.
pub struct Rehearsal<'a> {
    folder: tempfile::TempDir,
    watcher: &'a dyn Watcher,
    device: OpenDevice,
    sessions: BTreeMap<String, (Session<'a>, f64)>,
    times: BTreeMap<String, f64>,
}

impl<'a> Rehearsal<'a> {
    /// A rehearsal in a folder that is gone afterwards.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if there is no place for temporary files.
    pub fn new(device: OpenDevice, watcher: &'a dyn Watcher) -> Result<Self> {
        let folder =
            tempfile::tempdir().map_err(|error| crate::files::failed("make", &std::env::temp_dir(), &error))?;
        Ok(Self { folder, watcher, device, sessions: BTreeMap::new(), times: BTreeMap::new() })
    }

    /// Where the work is done.
    pub fn device(&self) -> &Device {
        &self.device.device
    }

    /// Seconds that a stage would take with all cores to itself, its process and the reading of images included. `network` is what a
    /// stage that measures or attacks would look at; it need not be trained.
    ///
    /// # Errors
    /// Whatever would stop the stage.
    pub fn seconds(&mut self, stage: &Stage, network: &Priced) -> Result<f64> {
        let key = self.session(&stage.experiment)?;
        let (session, opening) = &self.sessions[&key];
        let kind = cost_of_work(&key, stage, &network.cost);
        if let Some(known) = self.times.get(&kind) {
            return Ok(*known);
        }
        let seconds = opening + time(session, stage, &network.network)?;
        self.times.insert(kind, seconds);
        Ok(seconds)
    }

    /// A network of the stage's architecture with fresh weights; another for each `draw`.
    pub fn fresh(&mut self, experiment: &Experiment, draw: u64) -> Result<Network> {
        let key = self.session(experiment)?;
        let streams = Streams::new(draw).child("initialise");
        Network::initialise(self.sessions[&key].0.declare()?, &streams, DType::F32, self.device())
    }

    /// Cuts `dense` as the stage would, in one round.
    ///
    /// # Errors
    /// As [`prune_step`].
    pub fn cut(&mut self, stage: &Stage, dense: &Network, modules: &[ModuleSensitivity]) -> Result<Tried> {
        let key = self.session(&stage.experiment)?;
        cut(&self.sessions[&key].0, &stage.experiment.prune, dense, modules)
    }

    /// What the images and the shape of the network depend on. Seeds are not among it: they change no time.
    pub fn key(experiment: &Experiment) -> String {
        let data = DataSettings { split_seed: None, ..experiment.data.clone() };
        json!([data, experiment.network]).to_string()
    }

    /// The name of the session whose images and network an experiment shares, opened if it is not open.
    fn session(&mut self, experiment: &Experiment) -> Result<String> {
        let key = Self::key(experiment);
        if !self.sessions.contains_key(&key) {
            let start = Instant::now();
            let dir = RunDir::create(&self.folder.path().join(self.sessions.len().to_string()))?;
            let (name, device) = ("rehearsal".into(), self.device.clone());
            let opened = Opened { experiment: experiment.clone(), dir, name, resumed: false, device, goes_on: None };
            let session = Session::open(opened, 1, &Silent, self.watcher)?;
            self.sessions.insert(key.clone(), (session, start.elapsed().as_secs_f64()));
        }
        Ok(key)
    }
}

/// What the time of a stage depends on; seeds are not among it.
fn cost_of_work(session: &str, stage: &Stage, Cost { params, macs, .. }: &Cost) -> String {
    let experiment = &stage.experiment;
    let settings = match stage.work {
        Work::Train => json!(["train", experiment.pretrain]),
        Work::Measure { .. } => json!(["measure", experiment.prune.sensitivity]),
        Work::Time { .. } => json!("time"),
        Work::Prune { .. } => json!(["prune", experiment.prune, experiment.finetune]),
        Work::Attack { .. } => json!(["attack", experiment.evaluate]),
    };
    format!("{session} {settings} {params} {macs}")
}

fn time(session: &Session<'_>, stage: &Stage, network: &Network) -> Result<f64> {
    let experiment = &stage.experiment;
    match &stage.work {
        Work::Train => training(session, &experiment.pretrain, network),
        Work::Measure { .. } => measuring(session, &experiment.prune.sensitivity, network),
        Work::Time { .. } => {
            let start = Instant::now();
            measure_layer_times(&session.context("timing"), network)?;
            Ok(start.elapsed().as_secs_f64())
        }
        Work::Prune { .. } => {
            let (prune, finetune) = (&experiment.prune, &experiment.finetune);
            let start = Instant::now();
            let modules = ascending(network);
            let tried = cut(session, prune, network, &modules)?;
            let pruning = start.elapsed().as_secs_f64();
            let schedule = prune.schedule.make::<dyn PruningSchedule>()?;
            let rounds = rounds(schedule.as_ref(), prune.rounds, prune.ratio, finetune.epochs).len();
            Ok(pruning * rounds as f64 + training(session, finetune, &tried.network)?)
        }
        Work::Attack { of } => {
            // A pruned network is attacked as it was cut and, if it is fine-tuned, in the end.
            let times = if of.starts_with("prune-") && experiment.finetune.epochs > 0 { 2.0 } else { 1.0 };
            Ok(times * attacking(session, &experiment.evaluate, network)?)
        }
    }
}

/// Sensitivities that differ, for allocations that ask for them before they are measured.
pub fn ascending(network: &Network) -> Vec<ModuleSensitivity> {
    let modules = network.declaration().modules().enumerate();
    modules.map(|(at, layer)| ModuleSensitivity { module: layer.name.clone(), value: 1.0 + at as f64 }).collect()
}

fn cut(
    session: &Session<'_>,
    settings: &PruneSettings,
    dense: &Network,
    modules: &[ModuleSensitivity],
) -> Result<Tried> {
    let before = session.dense(dense, settings)?;
    let step = PruneStep {
        cx: session.context("prune"),
        settings,
        data: &session.data,
        modules,
        dense: &before,
        ratio: settings.ratio,
    };
    let pruned = prune_step(&step, dense)?;
    Ok(Tried { network: pruned.network, dense: before.cost, record: pruned.record })
}

/// Counts of repetitions in the settings of plugins that are tried with fewer where they are large, so that trying takes no hour.
const REPETITIONS: [&str; 8] =
    ["steps", "attack_steps", "guard_steps", "restarts", "queries", "draws", "searches", "replays"];
/// From this number on. The usual settings of all attacks but `cw-l2` and `square` have fewer.
const MANY: u64 = 200;

/// At most `most` repetitions, and by what the time of them is to be multiplied.
fn fewer(repetitions: u64, most: u64) -> (u64, f64) {
    let tried = repetitions.min(most);
    (tried, repetitions as f64 / tried.max(1) as f64)
}

/// The plugin with fewer repetitions, and by what its time is to be multiplied at most.
fn with_fewer_steps(kind: Kind, choice: &PluginChoice) -> Result<(PluginChoice, f64)> {
    let registration = find(kind, &choice.name)?;
    let settings = registration.ask(|registration| (registration.resolve)(Value::Object(choice.settings.clone())))?;
    // Restarts of many steps: together they are as few.
    let (mut tried, mut times, mut most) = (choice.clone(), 1.0, MANY);
    for key in REPETITIONS {
        let Some(repetitions) = settings[key].as_u64().filter(|repetitions| *repetitions > MANY) else { continue };
        // What a smaller number changes otherwise, such as the queries of AutoAttack, is no part of every attack.
        if registration.ask(|plugin| Ok((plugin.defaults)()))?[key].as_u64() == Some(repetitions) {
            continue;
        }
        let (fewer, factor) = fewer(repetitions, most);
        most = (most / fewer.max(1)).max(1);
        tried = tried.with(key, fewer);
        times *= factor.max(1.0);
    }
    Ok((tried, times))
}

/// Some steps of an epoch with their share of held-out images, times all steps.
fn training(session: &Session<'_>, settings: &TrainingSettings, network: &Network) -> Result<f64> {
    if settings.epochs == 0 {
        return Ok(0.0);
    }
    let whole = &session.split;
    let images = whole.train.len().min(settings.batch * STEPS);
    let share = images as f64 / whole.train.len() as f64;
    let held = ((whole.holdout.len() as f64 * share).ceil() as usize).min(whole.holdout.len());
    let split = Split { train: spread(&whole.train, images), holdout: spread(&whole.holdout, held) };
    let (trainer, times) = with_fewer_steps(Kind::Trainer, &settings.trainer)?;
    let (held_steps, held_times) = fewer(settings.validation.steps as u64, MANY);
    let validation = Validation { steps: held_steps as usize, ..settings.validation.clone() };
    let one = TrainingSettings { epochs: 1, trainer, validation, ..settings.clone() };
    let teacher = network.duplicate()?;
    let job = TrainingJob {
        stage: "rehearsal",
        network: network.duplicate()?,
        teacher: Some(&teacher),
        data: &session.data,
        split: &split,
        settings: &one,
        streams: session.streams.child("rehearsal"),
        checkpoint: None,
        events: &Silent,
        watcher: session.watcher,
    };
    let start = Instant::now();
    train(job)?;
    Ok(start.elapsed().as_secs_f64() / share * settings.epochs as f64 * times.max(held_times))
}

/// So many of them, from all over the list.
fn spread(all: &[usize], count: usize) -> Vec<usize> {
    (0..count).map(|at| all[at * all.len() / count]).collect()
}

/// A metric that says how many images it looks at is tried with fewer.
fn measuring(session: &Session<'_>, metric: &PluginChoice, network: &Network) -> Result<f64> {
    let registration = find(Kind::Sensitivity, &metric.name)?;
    let settings = registration.ask(|registration| (registration.resolve)(Value::Object(metric.settings.clone())))?;
    let (mut tried, times) = with_fewer_steps(Kind::Sensitivity, metric)?;
    let mut share = 1.0;
    if let Some(images) = settings["images"].as_u64() {
        let fewer = (images / PART).max(FEWEST).min(images);
        share = fewer as f64 / images.max(1) as f64;
        tried = tried.with("images", fewer);
    }
    let start = Instant::now();
    let cx = session.context("sensitivity").child(&metric.name);
    tried.make::<dyn SensitivityMetric>()?.measure(&cx, network, &session.data)?;
    Ok(start.elapsed().as_secs_f64() / share * times)
}

/// One batch, times all batches. Every image counts as classified rightly, so that none is left out: no network takes longer.
fn attacking(session: &Session<'_>, settings: &EvaluateSettings, network: &Network) -> Result<f64> {
    let test = &session.data.test;
    let images = settings.images.unwrap_or(usize::MAX).min(test.len());
    let count = images.min(settings.batch);
    let indices: Vec<usize> = (0..count).collect();
    let batch = test.batch(&indices, network.dtype(), network.device())?;
    let (cx, frozen, mut labels) = (session.context("evaluate"), network.freeze()?, Vec::new());
    let mut parts = cx.parts(count, count, || frozen.release_memory());
    while let Some(found) = parts.next_part(|part| loss::predictions(&frozen.logits(&batch.part(part)?.images)?))? {
        labels.extend(found);
    }
    let first = test.subset(&indices);
    let first = ImageSet::new(first.shape(), first.all_pixels().to_vec(), first.full_scale(), labels, first.classes())?;
    let mut attacks = 0.0;
    for attack in &settings.attacks {
        let (attack, times) = with_fewer_steps(Kind::Attack, attack)?;
        let few = EvaluateSettings { images: Some(count), curves: None, attacks: vec![attack], ..settings.clone() };
        let start = Instant::now();
        evaluate(&session.context("evaluate"), network, &first, &few, &mut Journal::default())?;
        attacks += start.elapsed().as_secs_f64() * times;
    }
    let mut curves = 0.0;
    if let Some(drawn) = settings.curves.filter(|&drawn| drawn > 0) {
        let with =
            EvaluateSettings { curves: Some(drawn), images: Some(count), attacks: Vec::new(), ..settings.clone() };
        let start = Instant::now();
        evaluate(&session.context("evaluate"), network, &first, &with, &mut Journal::default())?;
        curves = start.elapsed().as_secs_f64() * drawn.min(images) as f64 / drawn.min(count) as f64;
    }
    Ok(attacks * images as f64 / count.max(1) as f64 + curves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_with_many_repetitions_are_tried_with_few() -> Result<()> {
        let pgd =
            |steps: u64, restarts: u64| PluginChoice::named("pgd").with("steps", steps).with("restarts", restarts);
        let tried = |choice: &PluginChoice| with_fewer_steps(Kind::Attack, choice);
        assert_eq!(tried(&pgd(20, 10))?, (pgd(20, 10), 1.0), "usual numbers are tried as they are");
        assert_eq!(tried(&pgd(10_000, 1))?, (pgd(200, 1), 50.0));
        assert_eq!(tried(&pgd(10_000, 1000))?, (pgd(200, 1), 50_000.0));
        let square = PluginChoice::named("square");
        assert_eq!(tried(&square)?, (square.clone(), 1.0), "a plugin's own numbers belong to it");
        Ok(())
    }
}
