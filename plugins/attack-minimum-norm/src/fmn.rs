//! The fast minimum-norm attack: gradient steps in a ball that shrinks while the point is misclassified, and grows while it is not.

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches, distance, length, pick};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;
use std::f64::consts::PI;

use crate::found::{Nearest, images};

/// Settings of `fmn`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FmnSettings {
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Length of the first step in L2; it falls along a cosine to a hundredth. Above 0.
    pub step_size: f64,
    /// By which share the ball shrinks or grows at first; falls along a cosine to 0.001. Between 0 and 1.
    pub gamma: f64,
}

impl Default for FmnSettings {
    fn default() -> Self {
        Self { steps: 100, step_size: 1.0, gamma: 0.05 }
    }
}

register_plugin! {
    kind: Attack,
    name: "fmn",
    summary: "gradient steps in a ball that closes in on the boundary: L-inf, L2, L1",
    source: "Pintor et al. 2021, arXiv 2102.12827, algorithm 1; as foolbox' FMN attacks, whose L2 forgets to project and whose L1 \
             projects onto the ball and the range one after the other",
    settings: FmnSettings,
    make: |settings| Ok(Searches::one(Fmn::new(settings)?)),
}

pub(crate) struct Fmn(FmnSettings);

/// One image on its way.
pub(crate) struct Course<'a> {
    case: &'a Case,
    pub point: Vec<f64>,
    pub nearest: Nearest,
    /// Radius of the ball.
    pub radius: f64,
    /// Distance of the furthest point of the range, which no radius exceeds.
    furthest: f64,
    found: bool,
}

impl<'a> Course<'a> {
    fn new(case: &'a Case, norm: Norm) -> Self {
        let furthest = length(norm, case.clean.iter().map(|value| value.max(1.0 - value)));
        Self { case, point: case.clean.clone(), nearest: None, radius: f64::INFINITY, furthest, found: false }
    }

    /// Takes in how the point is classified, and goes on; `lead` is by how much the highest wrong logit lies above the label's.
    fn step(&mut self, norm: Norm, (step_size, gamma): (f64, f64), lead: f64, slope: &[f64]) {
        let away = distance(norm, &self.case.clean, &self.point);
        if lead > 0.0 {
            self.found = true;
            if away <= self.nearest.as_ref().map_or(self.furthest, |(_, nearest)| *nearest) {
                self.nearest = Some((self.point.clone(), away));
            }
            let nearest = self.nearest.as_ref().map_or(0.0, |(_, nearest)| *nearest);
            self.radius = (self.radius * (1.0 - gamma)).min(nearest);
        } else if self.found {
            self.radius *= 1.0 + gamma;
        } else {
            let dual = match norm {
                Norm::Linf => Norm::L1,
                Norm::L2 => Norm::L2,
                Norm::L1 => Norm::Linf,
            };
            // A vanished gradient makes the ball as large as it can be.
            self.radius = away + lead.abs() / length(dual, slope.iter().copied());
        }
        self.radius = self.radius.min(self.furthest);
        let factor = step_size / length(Norm::L2, slope.iter().copied()).max(1e-12);
        self.point.iter_mut().zip(slope).for_each(|(value, slope)| *value += factor * slope);
        Ball { norm, epsilon: self.radius }.project(&self.case.clean, &mut self.point);
    }
}

impl Fmn {
    pub fn new(settings: FmnSettings) -> Result<Self> {
        let FmnSettings { steps, step_size, gamma } = settings;
        if steps == 0 || !(step_size > 0.0 && step_size.is_finite()) || !(0.0..1.0).contains(&gamma) {
            let message = format!(
                "{steps} steps, step_size {step_size}, gamma {gamma}, expected at least 1, above 0, and a share from 0 to below 1"
            );
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Self(settings))
    }

    /// Step size and gamma at a step.
    fn annealed(&self, step: usize) -> (f64, f64) {
        let fall = (1.0 + (PI * step as f64 / self.0.steps as f64).cos()) / 2.0;
        let (step_size, least) = (self.0.step_size, self.0.step_size / 100.0);
        (least + (step_size - least) * fall, 0.001 + (self.0.gamma - 0.001) * fall)
    }

    /// The nearest misclassified points; `watch` sees the courses after each step.
    pub fn nearest(
        &self,
        cx: &CallContext<'_>,
        ball: Ball,
        ground: &Ground<'_>,
        watch: &mut dyn FnMut(usize, &[Course<'_>]),
    ) -> Result<Vec<Nearest>> {
        let norm = ball.norm;
        let mut live: Vec<Course<'_>> = ground.cases.iter().map(|case| Course::new(case, norm)).collect();
        for step in 0..self.0.steps {
            cx.check_interrupt()?;
            let labels: Vec<usize> = live.iter().map(|course| course.case.label).collect();
            let lead = |logits: &Tensor| lead(logits, &labels);
            let seen = ground.slopes(live.iter().map(|course| course.point.as_slice()), &lead)?;
            let annealed = self.annealed(step);
            live.par_iter_mut().enumerate().for_each(|(at, course)| {
                let each = course.point.len();
                course.step(norm, annealed, seen.losses[at], &seen.gradients[at * each..(at + 1) * each]);
            });
            watch(step, &live);
        }
        // An image that is broken already goes on as well: its distance is what this attack is asked for.
        Ok(live.into_iter().map(|course| course.nearest).collect())
    }
}

/// By how much the highest wrong logit of each image lies above the label's, `[batch]`.
pub(crate) fn lead(logits: &Tensor, labels: &[usize]) -> Result<Tensor> {
    let values = mrpf_api::attack::search::Logits::new(&logits.detach())?;
    let other = |(row, label): (usize, &usize)| {
        let ranking = values.ranking(row);
        ranking[usize::from(ranking[0] == *label)]
    };
    let others = pick(logits, labels.iter().enumerate().map(other))?;
    Ok((others - pick(logits, labels.iter().copied())?)?)
}

impl Search for Fmn {
    fn name(&self) -> &'static str {
        "fmn"
    }

    fn seeks_nearest(&self) -> bool {
        true
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(images(ground, self.nearest(cx, ball, ground, &mut |_, _| ())?.into_iter(), ball))
    }
}
