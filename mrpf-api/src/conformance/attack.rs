//! Laws of attacks.

use super::problem::{batch, data, network, numbers, streams};
use super::{Finding, KEEPS_ITS_WORD, Subject, Verdict, holds_if, keeps_its_word, law};
use crate::attack::{Attack, AttackOutcome, Norm, ThreatModel, check_inside};
use crate::context::CallContext;
use crate::data::Batch;
use crate::fraction::Fraction;
use crate::network::{Classifier, FrozenNetwork};
use crate::numeric::loss;
use crate::{ErrorKind, Result};
use candle_core::Tensor;

const IMAGES: usize = 24;

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it knows one norm at least", || knows_a_norm(subject)),
        law("it stays inside its ball and the valid range", || each(subject, 0.1, inside)),
        law("at epsilon 0 it changes nothing", || each(subject, 0.0, identity)),
        law("the same seed gives the same images", || each(subject, 0.1, same_seed)),
        law("an image is attacked alike in any company", || each(subject, 0.1, any_company)),
        law("what it says of its images is true", || each(subject, 0.1, truthful)),
        law("it makes no image right", || each(subject, 0.1, mends_nothing)),
        law("a larger ball is no safer", || each(subject, 0.05, grows_with_the_ball)),
        law(KEEPS_ITS_WORD, || word_kept(subject)),
        law("its parts one after another are the attack", || each(subject, 0.1, parts_are_the_whole)),
    ]
}

/// One attack on the small problem.
struct Case<'a> {
    attack: &'a dyn Attack,
    classifier: &'a FrozenNetwork,
    threat: ThreatModel,
    batch: Batch,
}

impl Case<'_> {
    fn run(&self, batch: &Batch) -> Result<AttackOutcome> {
        let cx = CallContext::unwatched(streams().child("attack"));
        self.attack.attack(&cx, self.classifier, &self.threat, batch)
    }
}

/// Examines a law for each norm that the attack knows; `size` is the radius in L-inf, the others are about as strong.
fn each(subject: &Subject<'_>, size: f64, examine: fn(&Case<'_>) -> Result<Verdict>) -> Result<Verdict> {
    let attack = subject.make::<dyn Attack>()?;
    let classifier = network()?.freeze()?;
    let mut unknown = 0;
    for norm in Norm::ALL {
        let epsilon = match norm {
            Norm::Linf => size,
            Norm::L2 => 4.0 * size,
            Norm::L1 => 20.0 * size,
        };
        let threat = ThreatModel { norm, epsilon: Fraction::from(epsilon) };
        let case = Case { attack: attack.as_ref(), classifier: &classifier, threat, batch: mostly_right(&classifier)? };
        match examine(&case) {
            Err(error) if error.kind() == ErrorKind::Settings => unknown += 1,
            Err(error) => return Err(error.context(norm.name())),
            Ok(Verdict::Holds) => {}
            Ok(Verdict::Broken(how)) => return Ok(Verdict::Broken(format!("{}: {how}", norm.name()))),
            Ok(other) => return Ok(other),
        }
    }
    Ok(if unknown == Norm::ALL.len() { Verdict::NotExamined("it refuses every norm".into()) } else { Verdict::Holds })
}

/// Images with the labels that the fresh network gives them, for there is nothing to attack else; every fourth has its own.
fn mostly_right(classifier: &FrozenNetwork) -> Result<Batch> {
    let mut batch = batch(&data()?.test, IMAGES)?;
    let own = batch.labels.to_vec1::<u32>()?;
    let predicted = loss::predictions(&classifier.logits(&batch.images)?)?;
    let labels: Vec<u32> = (0..IMAGES).map(|at| if at % 4 == 0 { own[at] } else { predicted[at] }).collect();
    batch.labels = Tensor::new(labels, batch.images.device())?;
    Ok(batch)
}

fn knows_a_norm(subject: &Subject<'_>) -> Result<Verdict> {
    Ok(match each(subject, 0.1, |case| case.run(&case.batch).map(|_| Verdict::Holds))? {
        Verdict::NotExamined(_) => Verdict::Broken("it refuses linf, l2 and l1".into()),
        other => other,
    })
}

fn word_kept(subject: &Subject<'_>) -> Result<Verdict> {
    let attack = subject.make::<dyn Attack>()?;
    let network = network()?;
    let (classes, shape) = (network.declaration().classes, network.declaration().input);
    let classifier = network.freeze()?;
    for norm in Norm::ALL {
        let threat = ThreatModel { norm, epsilon: Fraction::from(0.1) };
        let said = attack.check(&threat, classes, shape);
        let case = Case { attack: attack.as_ref(), classifier: &classifier, threat, batch: mostly_right(&classifier)? };
        match keeps_its_word(said, || case.run(&case.batch).map(drop))? {
            Verdict::Holds => {}
            Verdict::Broken(how) => return Ok(Verdict::Broken(format!("{}: {how}", norm.name()))),
            other @ Verdict::NotExamined(_) => return Ok(other),
        }
    }
    Ok(Verdict::Holds)
}

fn inside(case: &Case<'_>) -> Result<Verdict> {
    let images = case.run(&case.batch)?.images;
    if images.dims() != case.batch.images.dims() {
        let (found, expected) = (images.dims(), case.batch.images.dims());
        return Ok(Verdict::Broken(format!("shape {found:?}, expected {expected:?}")));
    }
    check_inside(&case.threat, &case.batch.images, &images).map(|()| Verdict::Holds)
}

fn identity(case: &Case<'_>) -> Result<Verdict> {
    let furthest = furthest(&numbers(&case.run(&case.batch)?.images)?, &numbers(&case.batch.images)?);
    // The projection divides by lengths that may be all rounding.
    Ok(holds_if(furthest <= 1e-6, || format!("a pixel moves by {furthest}")))
}

fn same_seed(case: &Case<'_>) -> Result<Verdict> {
    let (first, second) = (case.run(&case.batch)?, case.run(&case.batch)?);
    Ok(holds_if(numbers(&first.images)? == numbers(&second.images)?, || "two attacks end at different images".into()))
}

/// The batch is attacked as a whole, and its second half alone. Sums may be rounded otherwise, which moves few images.
fn any_company(case: &Case<'_>) -> Result<Verdict> {
    let half: Vec<usize> = (IMAGES / 2..IMAGES).rev().collect();
    let (whole, alone) = (case.run(&case.batch)?, case.run(&case.batch.select(&half)?)?);
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * (1.0 + a.abs());
    let moved = half.iter().zip(&alone.loss).filter(|&(&row, &loss)| !close(whole.loss[row], loss)).count();
    Ok(holds_if(moved <= half.len() / 6, || {
        format!("{moved} of {} images end elsewhere in another batch: draw per image, from cx.streams", half.len())
    }))
}

fn truthful(case: &Case<'_>) -> Result<Verdict> {
    let outcome = case.run(&case.batch)?;
    let judged = AttackOutcome::judge(case.classifier, outcome.images.clone(), &case.batch.labels)?;
    if outcome.broken.len() != case.batch.len() || outcome.loss.len() != case.batch.len() {
        let (broken, loss) = (outcome.broken.len(), outcome.loss.len());
        return Ok(Verdict::Broken(format!("{broken} verdicts and {loss} losses for {} images", case.batch.len())));
    }
    let wrong = (0..case.batch.len()).find(|&at| {
        let (said, true_loss) = (outcome.loss[at], judged.loss[at]);
        // Where the two highest logits are equal but for rounding, either verdict will do.
        outcome.broken[at] != judged.broken[at] && (true_loss - (2.0_f64).ln()).abs() > 1e-3
            || (said - true_loss).abs() > 1e-3 * (1.0 + true_loss.abs())
    });
    Ok(wrong.map_or(Verdict::Holds, |at| {
        Verdict::Broken(format!(
            "image {at}: broken {} with loss {:.4} is said, broken {} with loss {:.4} is true",
            outcome.broken[at], outcome.loss[at], judged.broken[at], judged.loss[at]
        ))
    }))
}

/// How many images are right where the attack left them.
fn right(case: &Case<'_>) -> Result<usize> {
    let images = case.run(&case.batch)?.images;
    let judged = AttackOutcome::judge(case.classifier, images, &case.batch.labels)?;
    Ok(judged.broken.iter().filter(|broken| !**broken).count())
}

fn mends_nothing(case: &Case<'_>) -> Result<Verdict> {
    let clean = AttackOutcome::judge(case.classifier, case.batch.images.clone(), &case.batch.labels)?;
    let (before, after) = (clean.broken.iter().filter(|broken| !**broken).count(), right(case)?);
    Ok(holds_if(after <= before, || format!("{after} of {IMAGES} images are right after it, {before} before")))
}

/// Twice the radius; chance may spare some images that it did not spare before.
fn grows_with_the_ball(case: &Case<'_>) -> Result<Verdict> {
    let epsilon = Fraction::from(2.0 * case.threat.epsilon.value());
    let larger = Case { threat: ThreatModel { epsilon, norm: case.threat.norm }, batch: case.batch.clone(), ..*case };
    let (small, large) = (right(case)?, right(&larger)?);
    Ok(holds_if(large <= small + IMAGES / 8, || {
        format!("{small} of {IMAGES} images withstand it, and {large} in a ball twice as large")
    }))
}

/// Each part on what the ones before it left, as the host runs them.
fn parts_are_the_whole(case: &Case<'_>) -> Result<Verdict> {
    let parts = case.attack.parts(case.classifier.classes())?;
    if parts.is_empty() {
        return Ok(Verdict::Holds);
    }
    let whole = case.run(&case.batch)?.broken;
    let judged = AttackOutcome::judge(case.classifier, case.batch.images.clone(), &case.batch.labels)?;
    let mut broken = judged.broken;
    let cx = CallContext::unwatched(streams().child("attack"));
    for (name, part) in &parts {
        let left: Vec<usize> = (0..IMAGES).filter(|&row| !broken[row]).collect();
        if left.is_empty() {
            break;
        }
        let found = part.attack(&cx.child(name), case.classifier, &case.threat, &case.batch.select(&left)?)?;
        left.iter().zip(found.broken).for_each(|(&row, found)| broken[row] = found);
    }
    let differs = whole.iter().zip(&broken).filter(|(whole, parts)| whole != parts).count();
    Ok(holds_if(differs <= IMAGES / 8, || {
        format!("{differs} of {IMAGES} images end otherwise: give each part the streams `cx.child(name)`")
    }))
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
