//! Laws of a whole training stage.

use super::*;
use crate::event::Silent;
use crate::experiment::PluginChoice;
use crate::training::Split;
use mrpf_api::candle_core::backprop::GradStore;
use mrpf_api::context::{Unwatched, Watcher};
use mrpf_api::data::{Batch, ImageSet, ImageShape, LoadedData};
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
    fn loss(&mut self, _: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        self.calls.push("loss");
        let logits = network.forward(&batch.images, Mode::Train)?;
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
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 4, width: 4 }, 2);
    net.normalize("normalize", &[0.5], &[0.25]);
    net.conv("conv", 4, ConvGeometry::same3(), false).batch_norm("bn").relu("relu");
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
    let data = data()?;
    let split = Split::new(&data, 0.2, None, &Streams::new(2))?;
    train(TrainingJob {
        stage: "test",
        network: network()?,
        teacher: None,
        data: &data,
        split: &split,
        settings,
        streams: Streams::new(3),
        checkpoint,
        events: &Silent,
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
    assert_eq!(error.kind(), ErrorKind::Checkpoint);
    assert!(error.to_string().ends_with("other settings, other data or another network"), "{error}");
    std::fs::write(&path, b"nonsense").map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let error = run(&settings(plain()), Some(&path), &Unwatched).expect_err("no safetensors file");
    assert!(error.to_string().contains("not a complete safetensors file"), "{error}");
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
