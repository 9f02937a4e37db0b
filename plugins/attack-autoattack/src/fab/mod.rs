//! The fast adaptive boundary attack: the nearest misclassified image (Croce & Hein 2020, arXiv 1907.02044).

mod approach;
mod course;
mod projection;
mod settings;
#[cfg(test)]
mod tests;

pub use settings::{FabSettings, FabTargetedSettings};

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches, length};
use mrpf_api::prelude::*;

use approach::{Aim, Approach};
use course::{Course, Pull};

register_plugin! {
    kind: Attack,
    name: "fab",
    summary: "looks for the nearest misclassified image, whatever its class: L-inf, L2, L1",
    source: "Croce & Hein 2020, arXiv 1907.02044; as FABAttack_PT of fra31/auto-attack",
    settings: FabSettings,
    make: |settings| Ok(Searches::one(Fab::untargeted(settings)?)),
}

register_plugin! {
    kind: Attack,
    name: "fab-t",
    summary: "the same, once for each of the nearest classes",
    source: "Croce & Hein 2020, arXiv 2003.01690, section 5; as FABAttack_PT with targeted=True of fra31/auto-attack",
    settings: FabTargetedSettings,
    make: |settings| Ok(Searches::one(Fab::targeted(settings)?)),
}

/// A checked FAB.
pub(crate) struct Fab {
    /// How many wrong classes are gone for one by one; 0 to go for all at once.
    targets: usize,
    settings: FabSettings,
}

impl Fab {
    pub fn untargeted(settings: FabSettings) -> Result<Self> {
        Ok(Self { targets: 0, settings: settings.checked()? })
    }

    pub fn targeted(settings: FabTargetedSettings) -> Result<Self> {
        let (targets, settings) = settings.split()?;
        Ok(Self { targets, settings })
    }

    fn pull(&self, norm: Norm) -> Pull {
        let FabSettings { alpha_max, eta, beta, .. } = self.settings;
        Pull { norm, alpha_max, eta, beta }
    }
}

/// Half the radius from the clean image in a random direction, cut to the range.
fn random_start(ball: Ball, case: &Case, streams: &Streams) -> Vec<f64> {
    let mut noise = vec![0.0; case.clean.len()];
    let mut stream = streams.child(case.index).stream();
    match ball.norm {
        Norm::Linf => stream.fill_uniform(&mut noise, -1.0, 1.0),
        Norm::L2 | Norm::L1 => stream.fill_normal(&mut noise),
    }
    let factor = 0.5 * ball.epsilon / length(ball.norm, noise.iter().copied()).max(f64::MIN_POSITIVE);
    case.clean.iter().zip(noise).map(|(clean, noise)| (clean + factor * noise).clamp(0.0, 1.0)).collect()
}

impl Search for Fab {
    fn name(&self) -> &'static str {
        if self.targets == 0 { "fab" } else { "fab-t" }
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        let mut found: Vec<Vec<f64>> = ground.cases.iter().map(|case| case.clean.clone()).collect();
        let mut left: Vec<(usize, &Case)> = ground.cases.iter().enumerate().collect();
        let targets = self.targets.min(ground.classifier.classes() - 1);
        let aims: Vec<Aim> = if targets == 0 { vec![Aim::Nearest] } else { (1..=targets).map(Aim::Rank).collect() };
        for (number, aim) in aims.into_iter().enumerate() {
            for restart in 0..self.settings.restarts {
                let cx = cx.child(number).child(restart);
                let streams = cx.streams.child("start");
                let courses = left.iter().map(|&(row, case)| {
                    let start = if restart == 0 { case.clean.clone() } else { random_start(ball, case, &streams) };
                    Course::new(row, case, start)
                });
                let approach = Approach {
                    cx: &cx,
                    ground,
                    pull: self.pull(ball.norm),
                    steps: self.settings.steps,
                    aim,
                    epsilon: ball.epsilon,
                };
                for course in approach.run(courses.collect(), &mut |_, _| ())? {
                    if let Some(point) = course.broken(ball.epsilon) {
                        found[course.row] = point.to_vec();
                        left.retain(|(row, _)| *row != course.row);
                    }
                }
            }
        }
        Ok(found)
    }
}
