//! Laws of a whole training stage.

use super::*;
use crate::event::{Event, EventSink, Silent};
use crate::experiment::PluginChoice;
use crate::files::write_atomically;
use crate::stage_key::StageKey;
use crate::training::Split;
use mrpf_api::candle_core;
use mrpf_api::candle_core::backprop::GradStore;
use mrpf_api::context::{Unwatched, Watcher};
use mrpf_api::data::{Batch, ImageSet, ImageShape, LoadedData};
use mrpf_api::numeric::Precision;
use mrpf_api::prelude::*;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Plain cross-entropy that can be told to misbehave, and writes down what is asked of it.
struct TestTrainer {
    settings: TestSettings,
    calls: Vec<&'static str>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
struct TestSettings {
    detach: bool,
    explode: bool,
    replays: usize,
    perturb: f64,
    undo_epoch: usize,
    needs_teacher: bool,
    /// The most images that it finds memory for; 0 for any number.
    room: usize,
    /// Whether memory is found to be full before the forward pass.
    early: bool,
    whole: bool,
    /// The GPU is lost in the second epoch while there is a file of that name.
    lost_while: String,
    /// The only precision that it is content with.
    precision: Precision,
}

/// What the bindings say where the driver gave that code.
fn driver_error(code: &str) -> Error {
    candle_core::Error::Msg(format!(r#"DriverError({code}, "...")"#)).bt().into()
}

static CALLS: Mutex<Vec<Vec<&'static str>>> = Mutex::new(Vec::new());

register_plugin! {
    kind: Trainer,
    name: "test-trainer",
    summary: "for tests",
    source: "own",
    settings: TestSettings,
    make: |settings| Ok(Box::new(TestTrainer { settings, calls: Vec::new() })),
}

impl AdversarialTrainer for TestTrainer {
    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        self.calls.push("loss");
        if network.precision() != self.settings.precision {
            return Err(Error::new(ErrorKind::Settings, format!("computed in {}", network.precision())));
        }
        let is_full = self.settings.room > 0 && batch.len() > self.settings.room;
        if is_full && self.settings.early {
            return Err(driver_error("CUDA_ERROR_OUT_OF_MEMORY"));
        }
        let logits = network.forward(&batch.images, Mode::Train)?;
        if is_full {
            return Err(driver_error("CUDA_ERROR_OUT_OF_MEMORY"));
        }
        if step.epoch == 1 && Path::new(&self.settings.lost_while).is_file() {
            return Err(driver_error("CUDA_ERROR_ILLEGAL_ADDRESS"));
        }
        let logits = if self.settings.detach { logits.detach() } else { logits };
        let loss = loss::cross_entropy(&logits, &batch.labels, 0.0)?;
        let loss = if self.settings.explode { (loss * f64::INFINITY)? } else { loss };
        Ok(TrainingLoss { loss, logits: logits.detach() })
    }

    fn replays(&self) -> usize {
        self.settings.replays
    }

    fn needs_teacher(&self) -> bool {
        self.settings.needs_teacher
    }

    fn takes_parts(&self) -> bool {
        !self.settings.whole
    }

    fn end_epoch(&mut self, step: &TrainingStep<'_>, _: &Network) -> Result<EpochEnd> {
        Ok(match step.epoch + 1 == self.settings.undo_epoch {
            true => EpochEnd::UndoAndStop("enough".into()),
            false => EpochEnd::GoOn,
        })
    }

    fn perturb_weights(&mut self, _: &TrainingStep<'_>, network: &Network, _: &Batch) -> Result<Option<Weights>> {
        self.calls.push("perturb");
        let weight = network.parameter("out.weight")?.as_detached_tensor();
        Ok((self.settings.perturb > 0.0).then(|| {
            Weights::from([(
                "out.weight".into(),
                (weight.ones_like().expect("ones") * self.settings.perturb).expect("scaled"),
            )])
        }))
    }

    fn after_backward(&mut self, _: &TrainingStep<'_>, _: &GradStore) -> Result<()> {
        self.calls.push("after");
        Ok(())
    }
}

impl Drop for TestTrainer {
    fn drop(&mut self) {
        CALLS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(std::mem::take(&mut self.calls));
    }
}

/// Sixty images whose class is where they are bright.
fn data() -> Result<LoadedData> {
    let shape = ImageShape { channels: 1, height: 4, width: 4 };
    let mut stream = Streams::new(9).stream();
    let labels: Vec<u32> = (0..60).map(|i| i % 2).collect();
    let pixels = labels.iter().flat_map(|&label| {
        let bright: Vec<u8> = (0..16).map(|at| if (at < 8) == (label == 0) { 180 } else { 60 }).collect();
        bright
    });
    let pixels: Vec<u8> = pixels.map(|value| value + stream.below(40) as u8).collect();
    let set = ImageSet::new(shape, pixels, 255, labels, 2)?;
    let names = vec!["top".into(), "bottom".into()];
    Ok(LoadedData {
        train: set.clone(),
        test: set,
        class_names: names,
        mean: vec![0.5],
        std: vec![0.25],
        mirror_keeps_class: true,
    })
}

fn network() -> Result<Network> {
    network_with(true)
}

fn network_with(norm: bool) -> Result<Network> {
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 4, width: 4 }, 2);
    net.normalize("normalize", &[0.5], &[0.25]);
    net.conv("conv", 4, ConvGeometry::same3(), false);
    if norm {
        net.batch_norm("bn");
    }
    net.relu("relu");
    net.flatten("flatten").linear("out", 2);
    Network::initialise(net.finish()?, &Streams::new(1), DType::F32, &Device::Cpu)
}

fn settings(trainer: PluginChoice) -> TrainingSettings {
    TrainingSettings {
        trainer,
        epochs: 4,
        batch: 16,
        augment: Augment { crop: 1, ..Augment::default() },
        validation: Validation { steps: 2, ..Validation::default() },
        ..TrainingSettings::default()
    }
}

fn run(settings: &TrainingSettings, checkpoint: Option<&Path>, watcher: &dyn Watcher) -> Result<Trained> {
    run_telling(network()?, settings, checkpoint, watcher, &Silent)
}

/// Keeps what it is warned of.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl EventSink for Warnings {
    fn send(&self, event: Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(message);
        }
    }
}

fn run_telling(
    network: Network,
    settings: &TrainingSettings,
    checkpoint: Option<&Path>,
    watcher: &dyn Watcher,
    events: &dyn EventSink,
) -> Result<Trained> {
    let data = data()?;
    let split = Split::new(&data, 0.2, None, &Streams::new(2))?;
    let key = StageKey::default().with("finetune", settings)?;
    let checkpoint = checkpoint.map(|path| Checkpoint { path, key: &key, write: &write_atomically });
    train(TrainingJob {
        stage: "test",
        network,
        teacher: None,
        data: &data,
        split: &split,
        settings,
        streams: Streams::new(3),
        checkpoint,
        events,
        watcher,
    })
}

/// Asks to stop at the n-th question.
struct StopAt(AtomicUsize);

impl Watcher for StopAt {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn interrupted(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(1))).unwrap_or(0) <= 1
    }
}

fn plain() -> PluginChoice {
    PluginChoice::named("test-trainer")
}

#[test]
fn training_learns_and_is_the_same_for_the_same_seed() -> Result<()> {
    let (a, b) = (run(&settings(plain()), None, &Unwatched)?, run(&settings(plain()), None, &Unwatched)?);
    assert_eq!(a.network.to_bytes()?, b.network.to_bytes()?);
    assert_eq!(a.history, b.history);
    assert!(a.history[3].loss < a.history[0].loss && a.history[3].holdout_clean > Some(0.9), "{:?}", a.history);
    Ok(())
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one() -> Result<()> {
    let whole = run(&settings(PluginChoice::named("pgd-at").with("steps", 2)), None, &Unwatched)?;
    let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let path = folder.path().join("state.safetensors");
    let settings = settings(PluginChoice::named("pgd-at").with("steps", 2));
    let mut stops = 0;
    let resumed = loop {
        // Each session is stopped a little later within its epoch than the one before.
        match run(&settings, Some(&path), &StopAt(AtomicUsize::new(17 + stops))) {
            Ok(trained) => break trained,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
        stops += 1;
        assert!(stops < 60, "it never ends");
    };
    assert!(stops >= 2, "stopped {stops} times");
    assert_eq!(resumed.network.to_bytes()?, whole.network.to_bytes()?);
    assert_eq!((resumed.history, resumed.chosen_epoch), (whole.history, whole.chosen_epoch));
    Ok(())
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() -> Result<()> {
    let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let path = folder.path().join("state.safetensors");
    run(&settings(plain()), Some(&path), &Unwatched)?;
    let other = TrainingSettings { momentum: 0.5, ..settings(plain()) };
    let error = run(&other, Some(&path), &Unwatched).expect_err("other settings");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().ends_with("finetune.momentum was 0.9 and is 0.5 now"), "{error}");
    std::fs::write(&path, b"nonsense").map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let error = run(&settings(plain()), Some(&path), &Unwatched).expect_err("no safetensors file");
    assert!(error.to_string().contains("expected a safetensors file"), "{error}");
    Ok(())
}

#[test]
fn a_missing_gradient_and_a_loss_without_end_are_named() {
    let detached = run(&settings(plain().with("detach", true)), None, &Unwatched).expect_err("no gradient").to_string();
    assert!(detached.contains("no gradient with respect to `bn.bias`"), "{detached}");
    let exploded = run(&settings(plain().with("explode", true)), None, &Unwatched).expect_err("infinite").to_string();
    assert_eq!(exploded, "trainer `test-trainer`, epoch 1 step 1: the loss is inf");
}

#[test]
fn hooks_are_called_in_order_and_the_perturbation_is_taken_off() -> Result<()> {
    let once = TrainingSettings { epochs: 1, momentum: 0.0, weight_decay: 0.0, ..settings(plain()) };
    let mut hooked = once.clone();
    // A constant shift of all logits' weights alike changes no gradient of the softmax but must not stay in the weights.
    hooked.trainer = plain().with("perturb", 0.25).with("replays", 1);
    let (bare, shifted) = (run(&once, None, &Unwatched)?, run(&hooked, None, &Unwatched)?);
    let [a, b] = [bare, shifted].map(|trained| trained.network.snapshot().map(|weights| weights["out.weight"].clone()));
    let off = mrpf_test_support::largest_difference(&a?, &b?)?;
    assert!(off < 1e-5, "the perturbation stayed: {off}");
    run(&TrainingSettings { trainer: plain().with("replays", 2), ..once }, None, &Unwatched)?;
    let calls = CALLS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let replayed = calls.iter().find(|calls| calls.len() == 2 * 3 * 3).expect("three batches, each twice");
    assert!(replayed.chunks(3).all(|step| step == ["perturb", "loss", "after"]));
    Ok(())
}

#[test]
fn no_epochs_leave_the_network_as_it_was() -> Result<()> {
    let trained = run(&TrainingSettings { epochs: 0, ..settings(plain()) }, None, &Unwatched)?;
    assert_eq!(trained.network.to_bytes()?, network()?.to_bytes()?);
    assert_eq!(trained.chosen_epoch, 0);
    Ok(())
}

#[test]
fn an_undone_epoch_leaves_the_network_of_the_one_before_and_ends_the_training() -> Result<()> {
    // A constant rate and the last epoch, so that two epochs of four are the first two of them all.
    let mut last = TrainingSettings { select: Select::Last, ..settings(plain()) };
    last.learning_rate.decay = Decay::Constant;
    for (undone, left) in [(3, 2), (1, 0)] {
        let whole = run(&TrainingSettings { epochs: left, ..last.clone() }, None, &Unwatched)?;
        let settings = TrainingSettings { trainer: plain().with("undo_epoch", undone), ..last.clone() };
        let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let path = folder.path().join("state.safetensors");
        // The second time it goes on from the checkpoint of the epoch before, and comes to the same end.
        for _ in 0..2 {
            let ended = run(&settings, Some(&path), &Unwatched)?;
            assert_eq!(ended.network.to_bytes()?, whole.network.to_bytes()?);
            assert_eq!((&ended.history, ended.chosen_epoch), (&whole.history, left));
            let told = format!("trainer `test-trainer` undid epoch {undone} of 4 and ended the training: enough");
            assert_eq!(ended.stopped, Some(told));
        }
    }
    Ok(())
}

#[test]
fn a_missing_teacher_is_named_before_anything_is_trained() {
    let error = run(&settings(plain().with("needs_teacher", true)), None, &Unwatched).expect_err("no teacher");
    assert_eq!(error.to_string(), "trainer `test-trainer` learns from a teacher, and there is none");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("`teacher` setting")));
}

#[test]
fn free_training_goes_on_with_its_kept_perturbation() -> Result<()> {
    let settings = settings(PluginChoice::named("free-at").with("replays", 2));
    let whole = run(&settings, None, &Unwatched)?;
    let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let path = folder.path().join("state.safetensors");
    let mut stops = 0;
    let resumed = loop {
        match run(&settings, Some(&path), &StopAt(AtomicUsize::new(9 + stops))) {
            Ok(trained) => break trained,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
        stops += 1;
        assert!(stops < 60, "it never ends");
    };
    assert!(stops >= 2, "stopped {stops} times");
    assert_eq!(resumed.network.to_bytes()?, whole.network.to_bytes()?);
    Ok(())
}

#[test]
fn a_batch_without_room_goes_through_in_parts_that_make_the_same_step_and_this_is_said_once() -> Result<()> {
    // Without batch norm, which knows its batch; parts of 4 and 5 images and, at the end of an epoch, of 4.
    let whole = TrainingSettings { batch: 18, ..settings(plain()) };
    let parts = TrainingSettings { trainer: plain().with("room", 5), ..whole.clone() };
    let warnings = Warnings::default();
    let expected = run_telling(network_with(false)?, &whole, None, &Unwatched, &warnings)?;
    assert!(warnings.0.lock().expect("no panic").is_empty());
    let found = run_telling(network_with(false)?, &parts, None, &Unwatched, &warnings)?;
    let told = "the GPU's memory is full: from now on a batch of 18 goes through in 4 parts of up to 5";
    assert_eq!(*warnings.0.lock().expect("no panic"), [told]);
    let start = network_with(false)?.snapshot()?;
    for (name, weight) in expected.network.snapshot()? {
        let far = mrpf_test_support::largest_difference(&weight, &start[&name])?;
        let off = mrpf_test_support::largest_difference(&weight, &found.network.snapshot()?[&name])?;
        assert!(off < 1e-4 * far, "{name} moved by {far}, differs by {off}");
    }
    for (a, b) in expected.history.iter().zip(&found.history) {
        assert!((a.loss - b.loss).abs() < 1e-5 && a.train_accuracy == b.train_accuracy, "{a:?} {b:?}");
    }
    Ok(())
}

#[test]
fn an_attempt_that_found_no_room_leaves_no_trace() -> Result<()> {
    // The one fails when the running statistics have been updated, the other before.
    let trainer = plain().with("room", 8);
    let warnings = Warnings::default();
    let [late, early] = [false, true].map(|early| {
        let settings = settings(trainer.clone().with("early", early));
        run_telling(network()?, &settings, None, &Unwatched, &warnings)?.network.to_bytes()
    });
    assert_eq!(late?, early?);
    let warnings = warnings.0.lock().expect("no panic");
    assert!(warnings.len() == 2 && warnings[0].ends_with("in 2 parts of 8; batch norm normalises by each part"));
    Ok(())
}

#[test]
fn where_two_images_find_no_room_or_batches_belong_together_it_ends_with_advice() -> Result<()> {
    for (trainer, advice) in [
        (plain().with("room", 1), "no room for 2 images"),
        (plain().with("room", 8).with("whole", true), "set a smaller `batch` than 16"),
    ] {
        let error = run(&settings(trainer), None, &Unwatched).expect_err("no room");
        assert!(error.is_out_of_memory(), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains(advice)), "{error:?}");
    }
    let error = run(&settings(plain().with("room", 8).with("perturb", 0.25)), None, &Unwatched).expect_err("perturbed");
    assert!(error.to_string().contains("perturbs the weights by whole batches"), "{error}");
    let takes_parts = |choice: PluginChoice| Ok(choice.make::<dyn AdversarialTrainer>()?.takes_parts());
    for (name, expected) in [("pgd-at", true), ("trades", true), ("fgsm-rs", true), ("awp", false), ("free-at", false)]
    {
        let found: Result<bool> = takes_parts(PluginChoice::named(name));
        assert_eq!(found?, expected, "{name}");
        let over: Result<bool> = takes_parts(PluginChoice::named("slimming").with("over", name));
        assert_eq!(over?, expected, "slimming over {name}");
    }
    Ok(())
}

#[test]
fn a_gpu_that_is_lost_leaves_the_epochs_before_and_training_goes_on_from_there() -> Result<()> {
    let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let (path, lost) = (folder.path().join("state.safetensors"), folder.path().join("lost"));
    let settings = settings(plain().with("lost_while", lost.display().to_string()));
    let whole = run(&settings, None, &Unwatched)?;
    std::fs::write(&lost, b"").map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let error = run(&settings, Some(&path), &Unwatched).expect_err("the GPU is lost");
    assert_eq!(crate::failure::exit_code(error.kind()), 7);
    let kept =
        format!("after epoch 1 of 4, which is kept in {}: trainer `test-trainer`, epoch 2 step 1", path.display());
    assert!(error.to_string().starts_with(&kept), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("gone on with, on any device")), "{error:?}");
    std::fs::remove_file(&lost).map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let resumed = run(&settings, Some(&path), &Unwatched)?;
    assert_eq!(resumed.network.to_bytes()?, whole.network.to_bytes()?);
    Ok(())
}

#[test]
fn the_precision_of_a_stage_ends_with_it() -> Result<()> {
    let settings = |trainer| TrainingSettings { precision: Precision::Bf16, epochs: 1, ..settings(trainer) };
    let trained = run(&settings(plain().with("precision", "bf16")), None, &Unwatched)?;
    assert_eq!(trained.network.precision(), Precision::F32);
    let error = run(&settings(plain()), None, &Unwatched).expect_err("not in f32").to_string();
    assert!(error.ends_with("computed in bf16"), "{error}");
    Ok(())
}
