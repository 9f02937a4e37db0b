//! An evaluation that was stopped, or that takes its images in other batches, ends as any other.

use mrpf_api::attack::{Attack, AttackMeans, AttackOutcome, AttackPart, ThreatModel};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::{CallContext, Watcher};
use mrpf_api::data::Batch;
use mrpf_api::network::Classifier;
use mrpf_api::random::Streams;
use mrpf_api::{ErrorKind, Result};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faulty::{Fault, Faulty, named};
use super::{images, settings};
use crate::evaluation::Evaluation;
use crate::evaluation::cascade::{NamedAttack, Target};
use crate::evaluation::journal::Journal;
use crate::evaluation::robustness::evaluate_classifier;
use crate::stage_key::StageKey;

/// Uniform noise from each image's own stream; counts the images that it is asked for.
#[derive(Clone)]
struct Noise(Arc<AtomicUsize>);

impl Attack for Noise {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        self.0.fetch_add(batch.len(), Ordering::Relaxed);
        let (epsilon, shape) = (threat.epsilon.value(), &batch.images.dims()[1..]);
        let noise = cx.streams.uniform_per_image(&batch.indices, shape, -epsilon, epsilon, &batch.images)?;
        AttackOutcome::judge(classifier, (&batch.images + noise)?.clamp(0.0, 1.0)?, &batch.labels)
    }

    fn means(&self) -> AttackMeans {
        AttackMeans::Noise
    }
}

/// The same twice.
struct Twice(Noise);

impl Attack for Twice {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let first = self.0.attack(&cx.child("first"), classifier, threat, batch)?;
        first.worse(self.0.attack(&cx.child("second"), classifier, threat, batch)?)
    }

    fn parts(&self, _classes: usize) -> Result<Vec<AttackPart>> {
        Ok(vec![("first".into(), Box::new(self.0.clone())), ("second".into(), Box::new(self.0.clone()))])
    }
}

/// Asks to stop when it has been asked so often.
struct StopsAfter(AtomicUsize);

impl Watcher for StopsAfter {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn interrupted(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

struct Trial {
    counter: Arc<AtomicUsize>,
    attacks: Vec<NamedAttack>,
}

impl Trial {
    fn new() -> Self {
        let counter = Arc::new(AtomicUsize::new(0));
        let noise = Noise(counter.clone());
        Self { counter, attacks: vec![named("noise", noise.clone()), named("twice", Twice(noise))] }
    }

    fn run(&self, watcher: &dyn Watcher, batch: usize, journal: &mut Journal) -> Result<Evaluation> {
        let test = images(50, 20)?;
        let settings = crate::experiment::EvaluateSettings { batch, curves: None, ..settings(0.2) };
        let classifier = Faulty::new(Fault::None);
        let target = Target {
            classifier: &classifier,
            test: &test,
            settings: &settings,
            dtype: DType::F32,
            device: &Device::Cpu,
        };
        let cx = CallContext::new(Streams::new(3), watcher);
        evaluate_classifier(&cx, &target, &self.attacks, journal)
    }

    fn attacked(&self) -> usize {
        self.counter.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn a_stopped_evaluation_ends_as_an_uninterrupted_one() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new();
    let whole = trial.run(&mrpf_api::context::Unwatched, 8, &mut Journal::default())?;
    let work = trial.attacked();
    let survivors: Vec<usize> = whole.attacks.iter().map(|attack| attack.survivors).collect();
    assert!(survivors.iter().all(|&left| left > 0 && left < whole.clean), "the test has both kinds: {survivors:?}");
    let mut stopped = 0;
    for asked in 0.. {
        let path = folder.path().join(format!("{asked}.journal"));
        let stops = StopsAfter(AtomicUsize::new(asked));
        let Err(error) = trial.run(&stops, 8, &mut Journal::open(&path, &StageKey::default(), "x")?) else { break };
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let before = trial.attacked();
        let resumed =
            trial.run(&mrpf_api::context::Unwatched, 8, &mut Journal::open(&path, &StageKey::default(), "x")?)?;
        assert_eq!(resumed, whole);
        assert_eq!(before + trial.attacked(), work, "nothing is attacked twice");
        stopped += 1;
    }
    assert!(stopped > 10, "{stopped}");
    Ok(())
}

#[test]
fn an_attack_by_parts_is_the_attack() -> Result<()> {
    let trial = Trial::new();
    let by_parts = trial.run(&mrpf_api::context::Unwatched, 8, &mut Journal::default())?;
    let record = &by_parts.attacks[1];
    assert_eq!(record.parts.last().map(|part| part.survivors), Some(record.survivors));
    assert!(record.parts[0].survivors > record.parts[1].survivors);
    let test = images(50, 20)?;
    let cx = CallContext::unwatched(Streams::new(3)).child("attack").child("twice");
    let threat = settings(0.2).threat;
    let batch = test.batch(&(0..50).collect::<Vec<_>>(), DType::F32, &Device::Cpu)?;
    let whole = trial.attacks[1].attack.attack(&cx, &Faulty::new(Fault::None), &threat, &batch)?;
    let survives: Vec<bool> = by_parts.outcomes.iter().map(|outcome| outcome.survives(1)).collect();
    let expected: Vec<bool> = whole.broken.iter().map(|broken| !broken).collect();
    assert_eq!(survives, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_do_not_matter(batch in 1..60usize) {
        let trial = Trial::new();
        let run = |batch| trial.run(&mrpf_api::context::Unwatched, batch, &mut Journal::default());
        prop_assert_eq!(run(batch)?, run(50)?);
    }
}
