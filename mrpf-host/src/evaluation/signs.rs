//! Signs that a robustness figure is not what it seems; SIGNS.md explains each.

use mrpf_api::Result;
use mrpf_api::attack::{Ascent, AttackMeans, Start, ThreatModel};
use mrpf_api::candle_core::Tensor;
use mrpf_api::context::CallContext;
use mrpf_api::data::Batch;
use mrpf_api::fraction::Fraction;
use mrpf_api::numeric::InF64;
use mrpf_api::numeric::loss;
use serde::{Deserialize, Serialize};

use super::cascade::{NamedAttack, Target};
use super::curves::Curves;
use super::left_out::{LeftOut, unless_it_fails};
use super::outcome::{Evaluation, ImageOutcome};
use super::parts::in_parts;

/// How many images the signs are looked for on.
pub(super) const IMAGES: usize = 128;
/// How many images every attack is tried on at epsilon 0.
const IMAGES_AT_ZERO: usize = 16;

/// A sign of false robustness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// Its name, a heading of SIGNS.md.
    pub name: String,
    /// What was seen, as a sentence.
    pub message: String,
}

impl Sign {
    fn new(name: &str, message: String) -> Option<Self> {
        Some(Self { name: name.into(), message })
    }
}

/// Looks for signs of false robustness: on the first images, `batch`, and in what the attacks and curves have found. Gives also those that
/// could not be looked for.
pub(super) fn warning_signs(
    cx: &CallContext<'_>,
    target: &Target<'_>,
    batch: &Batch,
    attacks: &[NamedAttack],
    evaluation: &Evaluation,
) -> Result<(Vec<Sign>, Vec<LeftOut>)> {
    let mut left_out = Vec::new();
    let mut looked_for = |name: &str, found: Result<Option<Sign>>| -> Result<Option<Sign>> {
        Ok(unless_it_fails(&format!("the sign `{name}`"), found, &mut left_out)?.flatten())
    };
    let passes = three_times(cx, target, batch);
    let logits = passes.as_ref().ok().map(|(logits, _)| logits.clone());
    let mut signs = vec![
        looked_for("zero-gradients", zero_gradients(cx, target, batch))?,
        looked_for("probabilities", logits.map_or(Ok(None), |logits| probabilities(&logits)))?,
        looked_for("random-forward", passes.map(|(_, differences)| random_forward(&differences)))?,
        looked_for("epsilon-zero-differs", epsilon_zero(cx, target, batch, attacks))?,
        looked_for("noise-as-strong", noise_as_strong(cx, target, batch, evaluation))?,
        black_box_wins(evaluation),
        one_class(&evaluation.outcomes),
    ];
    if let Some(curves) = &evaluation.curves {
        signs.extend([more_is_weaker(curves), survives_everything(curves)]);
    }
    Ok((signs.into_iter().flatten().collect(), left_out))
}

/// The network of the last epoch is much weaker than that of the best: training has gone on for too long.
pub(crate) fn robust_overfitting(best: f64, last: f64) -> Option<Sign> {
    /// Rice et al. 2020 report gaps of 5 to 10 points on CIFAR-10; held-out sets of a few hundred images vary by two or three.
    const GAP: f64 = 0.05;
    if best - last <= GAP {
        return None;
    }
    let (best, last) = (100.0 * best, 100.0 * last);
    let message = format!(
        "robust accuracy on held-out images fell from {best:.1} % at the chosen epoch to {last:.1} % at the last one: the figures \
         are the chosen epoch's"
    );
    Sign::new("robust-overfitting", message)
}

/// The logits of a batch, and how far they are off when it is shown a second and a third time.
fn three_times(cx: &CallContext<'_>, target: &Target<'_>, batch: &Batch) -> Result<(Tensor, [f64; 2])> {
    // All three of a part together, for on a GPU other parts would be rounded otherwise.
    let found = in_parts(cx, target.classifier, batch, |part| {
        let logits = target.classifier.logits(&part.images)?.in_f64()?;
        let mut differences = [0.0; 2];
        for difference in &mut differences {
            let again = target.classifier.logits(&part.images)?.in_f64()?;
            *difference = (&logits - again)?.abs()?.max_all()?.to_scalar::<f64>()?;
        }
        Ok((logits, differences))
    })?;
    let (logits, differences): (Vec<Tensor>, Vec<[f64; 2]>) = found.into_iter().unzip();
    let largest = |of: usize| differences.iter().map(|part| part[of]).fold(0.0, f64::max);
    Ok((Tensor::cat(&logits, 0)?, [largest(0), largest(1)]))
}

fn zero_gradients(cx: &CallContext<'_>, target: &Target<'_>, batch: &Batch) -> Result<Option<Sign>> {
    let largest = in_parts(cx, target.classifier, batch, |part| {
        let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &part.labels);
        let found = target.classifier.input_gradient(&part.images, &loss)?.gradient;
        Ok(found.abs()?.flatten_from(1)?.max(1)?.in_f64()?.to_vec1::<f64>()?)
    })?;
    let largest = largest.concat();
    let vanished = largest.iter().filter(|&&value| value == 0.0).count();
    if vanished == 0 {
        return Ok(None);
    }
    let share = 100.0 * vanished as f64 / batch.len() as f64;
    let message = format!(
        "the input gradient is exactly zero for {share:.0} % of {} images: attacks that follow it see nothing",
        batch.len()
    );
    Ok(Sign::new("zero-gradients", message))
}

fn probabilities(logits: &Tensor) -> Result<Option<Sign>> {
    // As the check of AutoAttack's reference code.
    const SLACK: f64 = 1e-5;
    let all = logits.flatten_all()?.to_vec1::<f64>()?;
    let sums = logits.sum(1)?.to_vec1::<f64>()?;
    let is_share = |value: f64| value > -SLACK && value < 1.0 + SLACK;
    if all.iter().all(|&value| is_share(value)) && sums.iter().all(|&sum| (sum - 1.0).abs() < SLACK) {
        let message = "the outputs are in [0, 1] and sum to 1, so they are probabilities, where attacks expect logits: their \
                       gradients vanish for confident images";
        return Ok(Sign::new("probabilities", message.into()));
    }
    Ok(None)
}

fn random_forward(differences: &[f64; 2]) -> Option<Sign> {
    let difference = differences.iter().find(|&&difference| difference > 0.0)?;
    let message = format!(
        "the same images give other outputs the second time (by {difference:.2e}): attack the expectation over several passes \
         (autoattack's version `rand`)"
    );
    Sign::new("random-forward", message)
}

fn epsilon_zero(
    cx: &CallContext<'_>,
    target: &Target<'_>,
    batch: &Batch,
    attacks: &[NamedAttack],
) -> Result<Option<Sign>> {
    let rows: Vec<usize> = (0..batch.len().min(IMAGES_AT_ZERO)).collect();
    let few = batch.select(&rows)?;
    let nowhere = ThreatModel { epsilon: Fraction::from(0.0), ..target.settings.threat.clone() };
    for NamedAttack { name, attack } in attacks {
        let differs = in_parts(cx, target.classifier, &few, |part| {
            let clean = loss::correct(&target.classifier.logits(&part.images)?, &part.labels)?;
            let outcome = attack.attack(&cx.child("epsilon-0"), target.classifier, &nowhere, part)?;
            Ok(outcome.broken.iter().zip(&clean).filter(|(broken, clean)| *broken == *clean).count())
        })?;
        let differs: usize = differs.into_iter().sum();
        if differs > 0 {
            let message = format!(
                "attack `{name}` at epsilon 0 changes the outcome of {differs} of {} images, expected none",
                few.len()
            );
            return Ok(Sign::new("epsilon-zero-differs", message));
        }
    }
    Ok(None)
}

fn noise_as_strong(
    cx: &CallContext<'_>,
    target: &Target<'_>,
    batch: &Batch,
    evaluation: &Evaluation,
) -> Result<Option<Sign>> {
    let threat = target.settings.threat.clone();
    let ascent = Ascent { threat, step_size: 0.0, steps: 0, start: Start::Uniform };
    let found = in_parts(cx, target.classifier, batch, |part| {
        let noisy = ascent.starting_images(&cx.child("noise"), part)?;
        let right = |images: &Tensor| -> Result<usize> {
            let correct = loss::correct(&target.classifier.logits(images)?, &part.labels)?;
            Ok(correct.into_iter().filter(|&correct| correct).count())
        };
        Ok([right(&part.images)?, right(&noisy)?])
    })?;
    let [right, survives_noise] = [0, 1].map(|at| found.iter().map(|part| part[at]).sum::<usize>());
    let survives_attacks =
        evaluation.outcomes.iter().take(batch.len()).filter(|outcome| outcome.survives_all()).count();
    if survives_noise > survives_attacks || survives_noise >= right {
        return Ok(None);
    }
    let message = format!(
        "random noise breaks as much as the attacks ({} against {} of {right} images): the attacks are too weak here",
        right - survives_noise.min(right),
        right - survives_attacks
    );
    Ok(Sign::new("noise-as-strong", message))
}

/// An attack that asks for outputs only sees less than one that follows gradients, and should not find more.
fn black_box_wins(evaluation: &Evaluation) -> Option<Sign> {
    /// Share of the images by which the reference code of AutoAttack lets Square be better.
    const SLACK: f64 = 0.002;
    let mut more: Vec<(&str, usize)> = Vec::new();
    let white = evaluation.attacks.iter().filter(|attack| attack.means == AttackMeans::Gradients);
    let left = white.map(|attack| attack.survivors).min();
    for attack in &evaluation.attacks {
        if let (AttackMeans::Queries, Some(left)) = (attack.means, left) {
            more.push((&attack.name, left.saturating_sub(attack.survivors)));
        }
        // Within an attack of several parts, what a black box breaks has survived the gradients before it.
        let pairs = attack.parts.windows(2).filter(|pair| pair[1].means == AttackMeans::Queries);
        more.extend(pairs.map(|pair| (pair[1].name.as_str(), pair[0].survivors - pair[1].survivors)));
    }
    let (name, more) = more.into_iter().max_by_key(|&(_, more)| more)?;
    if more as f64 <= (SLACK * evaluation.images as f64).max(1.0) {
        return None;
    }
    let message = format!(
        "`{name}`, which sees outputs only, broke {more} of {} images more than attacks by gradients: the gradients mislead",
        evaluation.images
    );
    Sign::new("black-box-wins", message)
}

/// A network that gives one answer cannot be attacked, and is no classifier.
fn one_class(outcomes: &[ImageOutcome]) -> Option<Sign> {
    let first = outcomes.first()?;
    let is_one = outcomes.iter().all(|outcome| outcome.predicted == first.predicted);
    let right = outcomes.iter().filter(|outcome| outcome.is_right()).count();
    // Of images of a single class nothing can be told.
    if !is_one || outcomes.iter().all(|outcome| outcome.label == first.label) {
        return None;
    }
    let message = format!(
        "all {} images are taken for class {}, so what survives attacks are the {right} images that have this label: the network has \
         learnt nothing, or forgot it",
        outcomes.len(),
        first.predicted
    );
    Sign::new("one-class", message)
}

/// A larger radius holds the smaller one, and more steps hold fewer.
fn more_is_weaker(curves: &Curves) -> Option<Sign> {
    /// What two random starts may differ by, as a share of the images.
    const SLACK: f64 = 0.03;
    let rises = |before: usize, after: usize| after as f64 > before as f64 + (SLACK * curves.images as f64).max(1.0);
    let by_epsilon = curves.epsilons.windows(2).find(|pair| rises(pair[0].survivors, pair[1].survivors));
    let by_steps = curves.steps.windows(2).find(|pair| rises(pair[0].survivors, pair[1].survivors));
    let told = |what: [String; 2], survivors: [usize; 2]| {
        format!(
            "PGD with {} leaves {} of {} images, with {} it leaves {}: the more can do all that the less can, so it is stuck",
            what[0], survivors[0], curves.images, what[1], survivors[1]
        )
    };
    let message = match (by_epsilon, by_steps) {
        (Some([a, b]), _) => {
            told([a, b].map(|point| format!("radius {:.4}", point.epsilon)), [a.survivors, b.survivors])
        }
        (_, Some([a, b])) => told([a, b].map(|point| format!("{} steps", point.steps)), [a.survivors, b.survivors]),
        _ => return None,
    };
    Sign::new("more-is-weaker", message)
}

/// Within the largest radius every image can become plain grey.
fn survives_everything(curves: &Curves) -> Option<Sign> {
    /// A share that chance alone explains.
    const SLACK: f64 = 0.05;
    let last = curves.epsilons.last()?;
    if last.survivors as f64 <= SLACK * curves.images as f64 {
        return None;
    }
    let message = format!(
        "{} of {} images survive PGD with radius {:.2}, within which any image can become plain grey: the gradients lead nowhere",
        last.survivors, curves.images, last.epsilon
    );
    Sign::new("survives-everything", message)
}
