//! Accuracy against the radius and against the number of steps: a plausible network falls to nothing, and steadily.

use mrpf_api::attack::{Ascent, Norm, Start, ThreatModel, ascend};
use mrpf_api::context::CallContext;
use mrpf_api::data::Batch;
use mrpf_api::fraction::Fraction;
use mrpf_api::network::Classifier;
use mrpf_api::numeric::loss;
use mrpf_api::{Context, Result};
use serde::{Deserialize, Serialize};

use super::parts::in_parts;

/// Radii, as multiples of the threat model's; the last point of the curve is the [`largest`] radius.
const MULTIPLES: [f64; 7] = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0];
/// Steps at the threat model's radius.
const STEPS: [usize; 6] = [1, 2, 5, 10, 20, 50];
/// Steps at each radius.
const STEPS_PER_RADIUS: usize = 20;
/// All steps together go 2.5 times as far as the radius, so that the far side of the ball is in reach from any start (Madry et al.
/// 2018).
const REACH: f64 = 2.5;

/// Two curves of PGD with a uniform start, on the first images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// How many images, those included that are wrong without attack.
    pub images: usize,
    /// Against the radius, with 20 steps.
    pub epsilons: Vec<EpsilonPoint>,
    /// Against the steps, at the threat model's radius.
    pub steps: Vec<StepsPoint>,
}

/// A point of the first curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpsilonPoint {
    /// The radius.
    pub epsilon: f64,
    /// Images that survive.
    pub survivors: usize,
}

/// A point of the second curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepsPoint {
    /// The number of steps.
    pub steps: usize,
    /// Images that survive.
    pub survivors: usize,
}

/// A radius within which every image of `values` values can become every other's grey middle: nothing can survive it.
pub fn largest(norm: Norm, values: usize) -> f64 {
    match norm {
        Norm::Linf => 0.5,
        Norm::L2 => 0.5 * (values as f64).sqrt(),
        Norm::L1 => 0.5 * values as f64,
    }
}

/// Draws the curves on `batch`; nothing for a threat model without radius.
pub fn curves(
    cx: &CallContext<'_>,
    classifier: &dyn Classifier,
    batch: &Batch,
    threat: &ThreatModel,
    mut step: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Option<Curves>> {
    let radius = threat.epsilon.value();
    if radius == 0.0 || batch.is_empty() {
        return Ok(None);
    }
    Ascent::check(threat.norm).context(|| "PGD draws the curves".into())?;
    let right = in_parts(cx, classifier, batch, |part| loss::correct(&classifier.logits(&part.images)?, &part.labels))?;
    let right = right.concat();
    let rows: Vec<usize> = (0..batch.len()).filter(|&row| right[row]).collect();
    let attacked = batch.select(&rows)?;
    let cx = cx.child("curves");
    let survivors = |epsilon: f64, steps: usize| -> Result<usize> {
        let step_size = REACH * epsilon / steps as f64;
        let threat = ThreatModel { epsilon: Fraction::from(epsilon), norm: threat.norm };
        let ascent = Ascent { threat, step_size, steps, start: Start::Uniform };
        let of_parts = in_parts(&cx, classifier, &attacked, |attacked| {
            let start = ascent.starting_images(&cx, attacked)?;
            let climbed = ascend(&cx, classifier, &attacked.images, &start, &ascent, &|logits| {
                loss::cross_entropy_per_image(logits, &attacked.labels)
            })?;
            let correct = loss::correct(&classifier.logits(&climbed)?, &attacked.labels)?;
            Ok(correct.into_iter().filter(|&correct| correct).count())
        })?;
        Ok(of_parts.into_iter().sum())
    };
    let values = batch.images.dims()[1..].iter().product();
    let mut radii: Vec<f64> = MULTIPLES.iter().map(|multiple| multiple * radius).collect();
    let largest = largest(threat.norm, values);
    radii.retain(|&radius| radius < largest);
    radii.push(largest);
    let total = radii.len() * STEPS_PER_RADIUS + STEPS.iter().sum::<usize>();
    let mut done = 0;
    let mut count = |epsilon: f64, steps: usize| -> Result<usize> {
        step(done, total)?;
        done += steps;
        survivors(epsilon, steps)
    };
    let mut epsilons = Vec::with_capacity(radii.len());
    for epsilon in radii {
        epsilons.push(EpsilonPoint { epsilon, survivors: count(epsilon, STEPS_PER_RADIUS)? });
    }
    let mut by_steps = Vec::with_capacity(STEPS.len());
    for steps in STEPS {
        by_steps.push(StepsPoint { steps, survivors: count(radius, steps)? });
    }
    step(total, total)?;
    Ok(Some(Curves { images: batch.len(), epsilons, steps: by_steps }))
}
