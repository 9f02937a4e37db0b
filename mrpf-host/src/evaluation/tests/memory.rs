//! An evaluation on a GPU whose memory is full ends as any other.

use mrpf_api::attack::Attack;
use mrpf_api::candle_core::{self, DType, Device, Tensor};
use mrpf_api::context::{CallContext, Unwatched, Watcher};
use mrpf_api::data::ImageSet;
use mrpf_api::network::{Classifier, FrozenNetwork, InputGradient, LossOnLogits};
use mrpf_api::numeric::loss;
use mrpf_api::random::Streams;
use mrpf_api::{Error, Result};
use mrpf_test_support::{Warnings, resnet8, small_data};
use std::cell::Cell;
use std::sync::Mutex;

use super::settings;
use crate::evaluation::Evaluation;
use crate::evaluation::cascade::{NamedAttack, Target};
use crate::evaluation::journal::Journal;
use crate::evaluation::robustness::evaluate_classifier;
use crate::experiment::{EvaluateSettings, PluginChoice};
use crate::stage_key::StageKey;

/// A network on a GPU that has room for so many images.
struct Cramped {
    network: FrozenNetwork,
    /// On the way there, and for the way back as well.
    room: [usize; 2],
    full: Cell<usize>,
    released: Cell<usize>,
}

impl Cramped {
    /// What the bindings say where the driver found no room; the pass has been on its way.
    fn within<T>(&self, room: usize, images: &Tensor, found: T) -> Result<T> {
        if images.dim(0)? <= room {
            return Ok(found);
        }
        self.full.set(self.full.get() + 1);
        Err(candle_core::Error::Msg(r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "...")"#.into()).bt().into())
    }
}

impl Classifier for Cramped {
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        self.within(self.room[0], images, self.network.logits(images)?)
    }

    fn input_gradient(&self, images: &Tensor, loss: &LossOnLogits<'_>) -> Result<InputGradient> {
        self.within(self.room[1], images, self.network.input_gradient(images, loss)?)
    }

    fn classes(&self) -> usize {
        self.network.classes()
    }

    fn release_memory(&self) -> Result<()> {
        self.released.set(self.released.get() + 1);
        Ok(())
    }
}

struct Trial {
    test: ImageSet,
    settings: EvaluateSettings,
    attacks: Vec<NamedAttack>,
    classifier: Cramped,
}

impl Trial {
    /// Images that are classified rightly but for a few, and attacks of every kind, most of which start at random.
    fn new(room: [usize; 2]) -> Result<Self> {
        let network = resnet8()?.0.to_dtype(DType::F32)?.freeze()?;
        let test = small_data()?.test;
        let all = test.batch(&(0..test.len()).collect::<Vec<_>>(), DType::F32, &Device::Cpu)?;
        let mut labels = loss::predictions(&network.logits(&all.images)?)?;
        labels[3] = (labels[3] + 1) % 10;
        let test = ImageSet::new(test.shape(), test.all_pixels().to_vec(), test.full_scale(), labels, test.classes())?;
        let choices = [
            PluginChoice::named("pgd").with("steps", 4).with("restarts", 2),
            PluginChoice::named("fgsm"),
            PluginChoice::named("gaussian-noise"),
            PluginChoice::named("autoattack").with("steps", 5).with("queries", 20),
        ];
        let attack = |choice: &PluginChoice| -> Result<NamedAttack> {
            Ok(NamedAttack { name: choice.name.clone(), attack: choice.make::<dyn Attack>()? })
        };
        let settings = EvaluateSettings { batch: 16, curves: Some(12), ..settings(0.02) };
        let classifier = Cramped { network, room, full: Cell::default(), released: Cell::default() };
        Ok(Self { test, settings, attacks: choices.iter().map(attack).collect::<Result<_>>()?, classifier })
    }

    fn run(&self, watcher: &dyn Watcher, journal: &mut Journal) -> Result<Evaluation> {
        let target = Target {
            classifier: &self.classifier,
            test: &self.test,
            settings: &self.settings,
            dtype: DType::F32,
            device: &Device::Cpu,
        };
        evaluate_classifier(&CallContext::new(Streams::new(3), watcher), &target, &self.attacks, journal)
    }
}

#[test]
fn where_there_is_room_for_few_images_every_image_fares_as_with_all_and_this_is_said_once() -> Result<()> {
    let whole = Trial::new([usize::MAX; 2])?.run(&Unwatched, &mut Journal::default())?;
    for attack in &whole.attacks {
        assert!(
            attack.name == "gaussian-noise" || (1..whole.clean).contains(&attack.survivors),
            "{attack:?} of {}",
            whole.clean
        );
    }
    for (room, told) in [([7, 7], vec!["at most 4 at a time"]), ([1, 1], vec!["one by one"]), ([9, 3], vec!["8", "2"])]
    {
        let (trial, warnings) = (Trial::new(room)?, Warnings::default());
        assert_eq!(trial.run(&warnings, &mut Journal::default())?, whole, "{room:?}");
        let warnings = warnings.told();
        assert_eq!(warnings.len(), told.len(), "{warnings:?}");
        for (warning, told) in warnings.iter().zip(told) {
            assert!(
                warning.starts_with("the GPU's memory is full: from now on ") && warning.contains(told),
                "{warning}"
            );
        }
        let (full, released) = (trial.classifier.full.get(), trial.classifier.released.get());
        assert!(full > 0 && full == released, "{full} times full, {released} times released");
    }
    Ok(())
}

#[test]
fn what_one_device_has_begun_goes_on_where_there_is_less_room() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// Stops when an attack has been told of often enough.
    struct Stops(Mutex<usize>);
    impl Watcher for Stops {
        fn progress(&self, what: &str, _: usize, _: usize) {
            if what.contains("autoattack") {
                *self.0.lock().expect("no panic") += 1;
            }
        }

        fn interrupted(&self) -> bool {
            *self.0.lock().expect("no panic") > 2
        }
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("journal.jsonl");
    let whole = Trial::new([usize::MAX; 2])?.run(&Unwatched, &mut Journal::default())?;
    let rooms = [[usize::MAX; 2], [5, 5], [usize::MAX; 2]];
    for (at, room) in rooms.into_iter().enumerate() {
        let (trial, mut journal) = (Trial::new(room)?, Journal::open(&path, &StageKey::default(), "x")?);
        if at + 1 < rooms.len() {
            assert!(trial.run(&Stops(Mutex::new(0)), &mut journal).is_err());
        } else {
            assert_eq!(trial.run(&Unwatched, &mut journal)?, whole);
        }
    }
    Ok(())
}

#[test]
fn where_one_image_finds_no_room_it_ends_with_advice() -> Result<()> {
    for room in [[0, 0], [usize::MAX, 0]] {
        let error: Error = Trial::new(room)?.run(&Unwatched, &mut Journal::default()).expect_err("no room");
        assert!(error.is_out_of_memory(), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("no room for one image")), "{error:?}");
        assert_eq!(crate::failure::exit_code(error.kind()), 7);
    }
    Ok(())
}
