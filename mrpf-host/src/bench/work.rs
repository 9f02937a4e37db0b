//! The pieces of work: a convolution, a forward pass, an attack, a training step, a measurement of sensitivities.

use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::attack::{Ascent, Start, ThreatModel, ascend};
use mrpf_api::budget::{BudgetKind, Constraints};
use mrpf_api::candle_core::{DType, Tensor, Var};
use mrpf_api::context::{CallContext, Watcher};
use mrpf_api::coupling::{ChannelGroup, PruningPlan, channel_groups, cut};
use mrpf_api::data::{Batch, ImageSet, ImageShape, LoadedData};
use mrpf_api::network::{Classifier, Network};
use mrpf_api::numeric::{ConvGeometry, Precision, conv2d, loss};
use mrpf_api::random::Streams;
use mrpf_api::registry::{Kind, find, make};
use mrpf_api::sensitivity::SensitivityMetric;
use mrpf_api::trainer::{AdversarialTrainer, TrainingStep};
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::time::Instant;

use super::Measurement;
use crate::device::OpenDevice;
use crate::experiment::{Combine, PluginChoice, PruneSettings, architecture};
use crate::pruning::{Dense, PruneStep, prune_step};
use crate::training::{Sgd, TrainingSettings, train_step};

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum What {
    /// 3x3 convolutions of a ResNet-18's sizes, forward and with both gradients.
    Conv,
    /// A forward pass in evaluation mode.
    Forward,
    /// A PGD attack in the L-inf ball of radius 8/255.
    Attack,
    /// One step of a trainer, update of the weights included.
    TrainStep,
    /// The sensitivity of every module, by `mrs` in its mode `rift-code`.
    Mrs,
    /// The channel groups found anew, and half of each one's channels cut.
    Cut,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::Forward => "forward",
            Self::Attack => "attack",
            Self::TrainStep => "train_step",
            Self::Mrs => "mrs",
            Self::Cut => "cut",
        }
    }
}

/// What to measure and how often.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The work.
    pub what: What,
    /// The network, such as `resnet18`; see [`architecture`].
    pub arch: String,
    /// The trainer of a training step.
    pub trainer: String,
    /// Steps of the attack.
    pub attack_steps: usize,
    /// Images in a batch.
    pub batch: usize,
    /// `mrs`: size of the fixed adversarial set.
    pub images: usize,
    /// `mrs`: ascent epochs for each module.
    pub epochs: usize,
    /// Repetitions that count.
    pub steps: usize,
    /// Repetitions before them.
    pub warmup: usize,
    /// The share of its multiply-accumulates that the network is cut to first, every layer alike.
    pub macs: Option<f64>,
    /// The numbers that `forward`, `attack` and `train_step` are computed in on an NVIDIA GPU.
    pub precision: Precision,
    /// Where to compute.
    pub device: OpenDevice,
}

const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
const CLASSES: usize = 10;

/// Measures; one line for each piece of work.
///
/// # Errors
/// [`ErrorKind::Settings`] for counts of 0, and those of the plugins.
pub fn measure(settings: &Settings, watcher: &dyn Watcher) -> Result<Vec<Measurement>> {
    if settings.batch == 0 || settings.steps == 0 || settings.images == 0 || settings.epochs == 0 {
        let Settings { batch, steps, images, epochs, .. } = settings;
        let found = format!("batch {batch}, steps {steps}, images {images}, epochs {epochs}");
        return Err(Error::new(ErrorKind::Settings, format!("{found}, expected at least 1 of each")));
    }
    check_room(settings, system_memory())?;
    let cx = CallContext::new(Streams::new(0), watcher);
    if settings.what == What::Conv {
        if settings.precision != Precision::F32 {
            return Err(no_precision(settings));
        }
        return convolutions(&cx, settings);
    }
    let network = match settings.macs {
        None => network(settings)?,
        Some(share) => cut_to(&cx, &network(settings)?, share)?,
    };
    let batch = batch(settings, &cx.streams)?;
    let takes_precision = matches!(settings.what, What::Forward | What::Attack | What::TrainStep);
    if takes_precision {
        network.set_precision(settings.precision);
    } else if settings.precision != Precision::F32 {
        return Err(no_precision(settings));
    }
    let precision = takes_precision.then(|| network.computed_in(settings.precision));
    let head = Measurement { arch: Some(settings.arch.clone()), macs: settings.macs, precision, ..head(settings) };
    let attack_steps = Some(settings.attack_steps);
    Ok(vec![match settings.what {
        What::Conv | What::Forward => {
            let frozen = network.freeze()?;
            timed(&cx, head, settings, || frozen.logits(&batch.images).map(drop))?
        }
        What::Attack => {
            timed(&cx, Measurement { attack_steps, ..head }, settings, || attack(&cx, &network, &batch, settings))?
        }
        What::TrainStep => {
            let head = Measurement { attack_steps, trainer: Some(settings.trainer.clone()), ..head };
            let mut trainer = trainer(settings)?;
            if trainer.needs_teacher() {
                trainer.teacher(&network)?;
            }
            let mut sgd = Sgd::new(&TrainingSettings::default());
            let step = TrainingStep { cx: cx.clone(), epoch: 0, epochs: 1, label_smoothing: 0.0 };
            timed(&cx, head, settings, || {
                train_step(trainer.as_mut(), &network, &mut sgd, &step, std::slice::from_ref(&batch), 0.01).map(drop)
            })?
        }
        What::Cut => {
            let measured = timed(&cx, head, settings, || halve(&network).map(drop))?;
            Measurement { images_per_s: None, ..measured }
        }
        What::Mrs => {
            let (images, epochs) = (settings.images, settings.epochs);
            let head = Measurement { images: Some(images), epochs: Some(epochs), ..head };
            let metric = make::<dyn SensitivityMetric>(
                "mrs",
                json!({"mode": "rift-code", "images": images, "steps": epochs, "batch": settings.batch}),
            )?;
            let data = data(images)?;
            timed(&cx, head, settings, || metric.measure(&cx, &network, &data).map(drop))?
        }
    }])
}

/// The largest number of repetitions, passes and steps: what goes on for longer is no benchmark.
const MOST: usize = 1_000_000;

/// Bytes of memory that are free; none where the system does not say it.
fn system_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system.available_memory())
}

/// Refuses counts that have no end, and batches whose images and largest values alone are more than what is free.
///
/// # Errors
/// [`ErrorKind::Settings`] with what is needed and what there is.
fn check_room(settings: &Settings, free: Option<u64>) -> Result<()> {
    let Settings { batch, images, epochs, steps, warmup, attack_steps, .. } = settings;
    for (option, count) in [("epochs", epochs), ("steps", steps), ("warmup", warmup), ("attack-steps", attack_steps)] {
        if *count > MOST {
            let message = format!("--{option} {count}, expected at most {MOST}");
            return Err(Error::new(ErrorKind::Settings, message));
        }
    }
    // The images, and the values behind the first convolution of a ResNet-18: 64 channels as large as the images.
    let widest = 64 * SHAPE.height * SHAPE.width;
    let floats = |count: usize, each: usize| count.checked_mul(each)?.checked_mul(size_of::<f32>());
    let needed = [("batch", batch, SHAPE.len() + widest), ("images", images, SHAPE.len())];
    for (option, count, each) in needed {
        let is_used = option == "batch" || settings.what == What::Mrs;
        let bytes = floats(*count, each).map(|bytes| bytes as u64);
        if let (true, Some(free)) = (is_used, free)
            && bytes.is_none_or(|bytes| bytes > free)
        {
            let needed = bytes.map_or("more than can be counted".to_owned(), gigabytes);
            let message =
                format!("--{option} {count} takes {needed} of memory at least, and {} are free", gigabytes(free));
            return Err(Error::new(ErrorKind::Settings, message).hint("choose fewer images at a time"));
        }
    }
    Ok(())
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

fn no_precision(settings: &Settings) -> Error {
    let message = format!("--precision {} with --what {}", settings.precision, settings.what.name());
    Error::new(ErrorKind::Settings, message).hint("forward, attack and train_step take a precision")
}

fn head(settings: &Settings) -> Measurement {
    Measurement {
        what: settings.what.name().into(),
        batch: settings.batch,
        threads: mrpf_api::rayon::current_num_threads(),
        device: settings.device.name.clone(),
        ..Measurement::default()
    }
}

/// Repeats the work and keeps the time of each repetition after the first few.
///
/// # Errors
/// Those of the work, and [`ErrorKind::Interrupted`] between two repetitions.
fn timed(
    cx: &CallContext<'_>,
    head: Measurement,
    settings: &Settings,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Measurement> {
    let mut seconds = Vec::with_capacity(settings.steps);
    for repetition in 0..settings.warmup + settings.steps {
        cx.check_interrupt()?;
        let start = Instant::now();
        work()?;
        // A GPU may still be at it.
        settings.device.device.synchronize()?;
        if repetition >= settings.warmup {
            seconds.push(rounded(start.elapsed().as_secs_f64()));
        }
    }
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { 0.5 * (sorted[middle - 1] + sorted[middle]) };
    let images_per_s = Some((settings.batch as f64 / median.max(1e-9) * 100.0).round() / 100.0);
    Ok(Measurement { seconds, median: rounded(median), images_per_s, ..head })
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e5).round() / 1e5
}

/// An architecture with fresh weights.
fn network(settings: &Settings) -> Result<Network> {
    let choice = architecture(&PluginChoice::named(&settings.arch))?;
    let request = ArchitectureRequest { input: SHAPE, classes: CLASSES, mean: vec![0.5; 3], std: vec![0.25; 3] };
    let declaration = choice.make::<dyn Architecture>()?.declare(&request);
    let declaration = declaration.context(|| format!("architecture `{}`", choice.name))?;
    Network::initialise(declaration, &Streams::new(0).child("initialise"), DType::F32, &settings.device.device)
}

/// The network with as many channels of every layer gone as leave that share of its multiply-accumulates.
fn cut_to(cx: &CallContext<'_>, network: &Network, share: f64) -> Result<Network> {
    let plugin = |name: &str| PluginChoice::named(name);
    if !(share > 0.0 && share <= 1.0) {
        let message = format!("macs {share}, expected a share above 0 and at most 1");
        return Err(Error::new(ErrorKind::Settings, message));
    }
    let settings = PruneSettings {
        sensitivity: plugin("mrs"),
        criterion: plugin("random"),
        allocation: plugin("uniform"),
        schedule: plugin("one-shot"),
        rounds: 1,
        ratio: 1.0 - share,
        budget: BudgetKind::Macs,
        latency_table: None,
        constraints: Constraints::default(),
        combine: Combine::default(),
        remeasure: false,
    };
    let dense = Dense::new(network.declaration(), &settings)?;
    let cx = cx.child("cut");
    let (settings, ratio) = (&settings, settings.ratio);
    let step = PruneStep { cx, settings, data: &data(1)?, modules: &[], dense: &dense, ratio };
    Ok(prune_step(&step, network)?.network)
}

/// The network with the first half of the channels of every group that may be pruned.
fn halve(network: &Network) -> Result<Network> {
    let groups = channel_groups(network.declaration())?;
    let scores: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.channels]).collect();
    let left = |group: &ChannelGroup| if group.frozen.is_some() { group.channels } else { group.channels.div_ceil(2) };
    let plan = PruningPlan::keep_highest(&groups, &scores, &groups.iter().map(left).collect::<Vec<_>>());
    cut(network, &plan)
}

/// Random images with random labels.
fn batch(settings: &Settings, streams: &Streams) -> Result<Batch> {
    let (count, device) = (settings.batch, &settings.device.device);
    let shape = [count, SHAPE.channels, SHAPE.height, SHAPE.width];
    let images = streams.child("images").stream().uniform(&shape, 0.0, 1.0, DType::F32, device)?;
    let labels: Vec<u32> = (0..count).map(|image| (image * 7 % CLASSES) as u32).collect();
    Ok(Batch { images, labels: Tensor::new(labels, device)?, indices: (0..count).collect() })
}

/// The same as a data set, for metrics.
fn data(count: usize) -> Result<LoadedData> {
    let mut stream = Streams::new(0).child("data").stream();
    let pixels = (0..count * SHAPE.len()).map(|_| stream.below(256) as u8).collect();
    let labels = (0..count).map(|image| (image % CLASSES) as u32).collect();
    let train = ImageSet::new(SHAPE, pixels, 255, labels, CLASSES)?;
    Ok(LoadedData {
        test: train.clone(),
        train,
        class_names: (0..CLASSES).map(|class| class.to_string()).collect(),
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        mirror_keeps_class: true,
    })
}

/// The attack as trainers make it: the network is frozen, then its images climb.
fn attack(cx: &CallContext<'_>, network: &Network, batch: &Batch, settings: &Settings) -> Result<()> {
    let ascent = Ascent {
        threat: ThreatModel::default(),
        step_size: 2.0 / 255.0,
        steps: settings.attack_steps,
        start: Start::Uniform,
    };
    let start = ascent.starting_images(cx, batch)?;
    let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
    ascend(cx, &network.freeze()?, &batch.images, &start, &ascent, &loss).map(drop)
}

/// The trainer, with the attack of the peer where it has one: 8/255 by 2/255.
fn trainer(settings: &Settings) -> Result<Box<dyn AdversarialTrainer>> {
    let plugin = find(Kind::Trainer, &settings.trainer)?;
    let known = plugin.ask(|plugin| Ok((plugin.defaults)()))?;
    let wanted = json!({"epsilon": "8/255", "step_size": "2/255", "steps": settings.attack_steps});
    let mut given = wanted.as_object().cloned().unwrap_or_default();
    given.retain(|key, _| known.get(key).is_some());
    make::<dyn AdversarialTrainer>(&settings.trainer, Value::Object(given))
}

/// 3x3 convolutions: channels in and out, height and width.
const CONVOLUTIONS: [[usize; 3]; 5] = [[3, 64, 32], [64, 64, 32], [128, 128, 16], [256, 256, 8], [512, 512, 4]];

fn convolutions(cx: &CallContext<'_>, settings: &Settings) -> Result<Vec<Measurement>> {
    let mut all = Vec::new();
    let settings = Settings { steps: settings.steps.max(5), warmup: 2, ..settings.clone() };
    for [input, output, side] in CONVOLUTIONS {
        let mut stream = Streams::new(0).stream();
        let mut normal = |shape: &[usize]| stream.normal(shape, DType::F32, &settings.device.device);
        let images = normal(&[settings.batch, input, side, side])?;
        let weight = normal(&[output, input, 3, 3])?;
        let gradient = normal(&[settings.batch, output, side, side])?;
        let (tracked_images, tracked_weight) = (Var::from_tensor(&images)?, Var::from_tensor(&weight)?);
        let flops = (2 * settings.batch * input * output * 9 * side * side) as f64;
        let geometry = ConvGeometry::same3();
        let forward = || conv2d(&images, &weight, None, &geometry).map(drop);
        let forward_backward = || {
            let out = conv2d(&tracked_images, &tracked_weight, None, &geometry)?;
            // The gradient of this sum by the output is `gradient`.
            (out * &gradient)?.sum_all()?.backward().map(drop).map_err(Error::from)
        };
        let shape = Some([input, output, side]);
        let head = |pass: &str| Measurement { pass: Some(pass.into()), shape, ..head(&settings) };
        for (mut measured, factor) in [
            (timed(cx, head("forward"), &settings, forward)?, 1.0),
            (timed(cx, head("forward_backward"), &settings, forward_backward)?, 3.0),
        ] {
            measured.gflops = Some((flops * factor / measured.median.max(1e-9) / 1e8).round() / 10.0);
            measured.images_per_s = None;
            all.push(measured);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(batch: usize, images: usize, steps: usize) -> Result<Settings> {
        let device = OpenDevice::default();
        Ok(Settings {
            what: What::Mrs,
            arch: "resnet18".into(),
            trainer: "pgd-at".into(),
            attack_steps: 10,
            batch,
            images,
            epochs: 1,
            steps,
            warmup: 1,
            macs: None,
            precision: Precision::F32,
            device,
        })
    }

    #[test]
    fn a_batch_that_no_memory_holds_is_refused() -> Result<()> {
        let told = |batch, images, steps| -> Result<String> {
            let refused = check_room(&settings(batch, images, steps)?, Some(4_000_000_000));
            Ok(refused.map_or_else(|error| error.to_string(), |()| "taken".into()))
        };
        assert_eq!(told(128, 1024, 3)?, "taken");
        assert!(told(1_000_000_000, 1, 1)?.starts_with("--batch 1000000000 takes 274432.0 GB"));
        assert!(told(usize::MAX, 1, 1)?.contains("more than can be counted"));
        assert!(told(1, 1_000_000_000, 1)?.starts_with("--images 1000000000 takes"));
        assert!(told(1, 1, usize::MAX)?.ends_with("expected at most 1000000"));
        Ok(())
    }
}
