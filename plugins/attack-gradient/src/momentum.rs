//! The momentum iterative method.

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches, sign};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use crate::objective::Objective;

/// Settings of `mim`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MomentumSettings {
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Length of a step, in the unit of the pixels; above 0.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// What is kept of the gradients before; at least 0.
    pub decay: f64,
}

impl Default for MomentumSettings {
    fn default() -> Self {
        Self { steps: 10, step_size: Fraction::new(2, 255), decay: 1.0 }
    }
}

register_plugin! {
    kind: Attack,
    name: "mim",
    summary: "steps along the sign of gathered gradients from the clean image: L-inf",
    source: "Dong et al. 2018, arXiv 1710.06081, algorithm 1; as torchattacks' MIFGSM",
    settings: MomentumSettings,
    make: |settings| Ok(Searches::one(Momentum::new(settings)?)),
}

/// A checked momentum method.
pub(crate) struct Momentum(MomentumSettings);

/// One image on its way.
struct Course<'a> {
    row: usize,
    case: &'a Case,
    point: Vec<f64>,
    gathered: Vec<f64>,
}

impl Momentum {
    pub fn new(settings: MomentumSettings) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        if settings.steps == 0 {
            return wrong("0 steps, expected at least 1".into());
        }
        if settings.step_size.value() <= 0.0 {
            return wrong(format!("step_size {}, expected a length above 0", settings.step_size));
        }
        if !(settings.decay >= 0.0 && settings.decay.is_finite()) {
            return wrong(format!("decay {}, expected a number of at least 0", settings.decay));
        }
        Ok(Self(settings))
    }

    fn step(&self, ball: Ball, course: &mut Course<'_>, gradient: &[f64]) {
        let mean = gradient.iter().map(|slope| slope.abs()).sum::<f64>() / gradient.len() as f64;
        let scale = if mean > 0.0 { 1.0 / mean } else { 0.0 };
        let size = self.0.step_size.value();
        for ((value, gathered), slope) in course.point.iter_mut().zip(&mut course.gathered).zip(gradient) {
            *gathered = slope * scale + *gathered * self.0.decay;
            *value += size * sign(*gathered);
        }
        ball.project(&course.case.clean, &mut course.point);
    }

    /// Where each image ends: with `leave` at its first misclassified point, else after the last step.
    pub fn ends(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>, leave: bool) -> Result<Vec<Vec<f64>>> {
        let cases = ground.cases.iter().enumerate();
        let begin = cases.map(|(row, case)| {
            let gathered = vec![0.0; case.clean.len()];
            Course { row, case, point: case.clean.clone(), gathered }
        });
        let (mut live, mut done): (Vec<Course<'_>>, Vec<Course<'_>>) = (begin.collect(), Vec::new());
        for _ in 0..self.0.steps {
            if live.is_empty() {
                break;
            }
            cx.check_interrupt()?;
            let labels: Vec<u32> = live.iter().map(|course| course.case.label as u32).collect();
            let loss = |logits: &Tensor| {
                Objective::CrossEntropy.per_image(logits, &Tensor::new(labels.as_slice(), logits.device())?)
            };
            let seen = ground.slopes(live.iter().map(|course| course.point.as_slice()), &loss)?;
            let is_broken: Vec<bool> =
                live.iter().enumerate().map(|(at, course)| seen.logits.predicted(at) != course.case.label).collect();
            live.par_iter_mut().enumerate().filter(|(at, _)| !(leave && is_broken[*at])).for_each(|(at, course)| {
                let each = course.point.len();
                self.step(ball, course, &seen.gradients[at * each..(at + 1) * each]);
            });
            let (left, stay): (Vec<_>, Vec<_>) =
                live.into_iter().zip(&is_broken).partition(|(_, is_broken)| leave && **is_broken);
            done.extend(left.into_iter().map(|(course, _)| course));
            live = stay.into_iter().map(|(course, _)| course).collect();
        }
        done.append(&mut live);
        done.sort_by_key(|course| course.row);
        Ok(done.into_iter().map(|course| course.point).collect())
    }
}

impl Search for Momentum {
    fn name(&self) -> &'static str {
        "mim"
    }

    fn check(&self, norm: Norm) -> Result<()> {
        match norm {
            Norm::Linf => Ok(()),
            other => {
                let message = format!("`mim` knows the norm linf, found {}", other.name());
                Err(Error::new(ErrorKind::Settings, message).hint("`pgd` and `apgd-ce` know l2"))
            }
        }
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        self.ends(cx, ball, ground, true)
    }
}
