//! DeepFool: steps onto the nearest linear boundary until it is crossed.

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches, distance, length, sign};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use crate::found::{Nearest, images};

/// Settings of `deepfool`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct DeepFoolSettings {
    /// Number of steps at most; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// How much further than to the boundary a step goes, as a share of the way; at least 0.
    pub overshoot: f64,
}

impl Default for DeepFoolSettings {
    fn default() -> Self {
        Self { steps: 50, overshoot: 0.02 }
    }
}

register_plugin! {
    kind: Attack,
    name: "deepfool",
    summary: "steps onto the nearest linear boundary until it is crossed: L2, L-inf",
    source: "Moosavi-Dezfooli et al. 2016, arXiv 1511.04599; as torchattacks' DeepFool, which overshoots with each step and not once",
    settings: DeepFoolSettings,
    make: |settings| Ok(Searches::one(DeepFool::new(settings)?)),
}

pub(crate) struct DeepFool(DeepFoolSettings);

impl DeepFool {
    pub fn new(settings: DeepFoolSettings) -> Result<Self> {
        let (steps, overshoot) = (settings.steps, settings.overshoot);
        if steps == 0 || !(overshoot >= 0.0 && overshoot.is_finite()) {
            let message = format!("{steps} steps and overshoot {overshoot}, expected at least 1 and at least 0");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Self(settings))
    }

    /// A point moved beyond the nearest of the boundaries, as they look from it.
    fn step(&self, norm: Norm, point: &mut [f64], rivals: &[(f64, &[f64])]) {
        let steepness = |slope: &[f64]| {
            let dual = if norm == Norm::Linf { Norm::L1 } else { Norm::L2 };
            length(dual, slope.iter().copied()).max(f64::MIN_POSITIVE)
        };
        let nearness = |(lead, slope): &(f64, &[f64])| lead.abs() / steepness(slope);
        let Some((lead, slope)) = rivals.iter().min_by(|a, b| nearness(a).total_cmp(&nearness(b))) else { return };
        let steepness = steepness(slope);
        let way = (1.0 + self.0.overshoot) * lead.abs() / steepness;
        for (value, &slope) in point.iter_mut().zip(*slope) {
            let direction = if norm == Norm::Linf { sign(slope) } else { slope / steepness };
            *value = (*value + way * direction).clamp(0.0, 1.0);
        }
    }

    /// The first misclassified point on each image's way.
    pub fn nearest(&self, cx: &CallContext<'_>, norm: Norm, ground: &Ground<'_>) -> Result<Vec<Nearest>> {
        let mut found: Vec<Nearest> = vec![None; ground.cases.len()];
        let mut live: Vec<(usize, &Case, Vec<f64>)> =
            ground.cases.iter().enumerate().map(|(row, case)| (row, case, case.clean.clone())).collect();
        let classes = ground.classifier.classes();
        for step in 0..=self.0.steps {
            cx.check_interrupt()?;
            let points = || live.iter().map(|(_, _, point)| point.as_slice());
            let labels: Vec<usize> = live.iter().map(|(_, case, _)| case.label).collect();
            let seen = match step == self.0.steps {
                true => Vec::new(),
                false => {
                    let rivals: Vec<Vec<usize>> = (1..classes)
                        .map(|number| labels.iter().map(|label| (label + number) % classes).collect())
                        .collect();
                    ground.leads(points(), &labels, &rivals)?
                }
            };
            let last = if seen.is_empty() { Some(ground.logits(points())?) } else { None };
            let Some(logits) = last.as_ref().or(seen.first().map(|seen| &seen.logits)) else { break };
            let crossed: Vec<bool> = (0..live.len()).map(|at| logits.predicted(at) != labels[at]).collect();
            live.par_iter_mut().enumerate().filter(|(at, _)| !crossed[*at]).for_each(|(at, (_, _, point))| {
                let each = point.len();
                let rivals: Vec<(f64, &[f64])> =
                    seen.iter().map(|seen| (seen.losses[at], &seen.gradients[at * each..(at + 1) * each])).collect();
                self.step(norm, point, &rivals);
            });
            let mut crossed = crossed.into_iter();
            live.retain_mut(|(row, case, point)| {
                let is_crossed = crossed.next().unwrap_or_default();
                if is_crossed {
                    found[*row] = Some((std::mem::take(point), 0.0));
                    if let Some((point, away)) = &mut found[*row] {
                        *away = distance(norm, &case.clean, point);
                    }
                }
                !is_crossed
            });
            if live.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}

impl Search for DeepFool {
    fn name(&self) -> &'static str {
        "deepfool"
    }

    fn check(&self, norm: Norm) -> Result<()> {
        match norm {
            Norm::Linf | Norm::L2 => Ok(()),
            Norm::L1 => Err(Error::new(ErrorKind::Settings, "`deepfool` knows the norms l2 and linf, found l1")
                .hint("`fab-t` and `fmn` look for the nearest image in l1")),
        }
    }

    fn seeks_nearest(&self) -> bool {
        true
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(images(ground, self.nearest(cx, ball.norm, ground)?.into_iter(), ball))
    }
}
