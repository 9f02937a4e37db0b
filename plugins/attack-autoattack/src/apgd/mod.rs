//! Auto-PGD: gradient ascent whose step sizes look after themselves (Croce & Hein 2020, arXiv 2003.01690, section 4).

mod climb;
mod course;
mod objective;
mod plan;
mod settings;
mod sparse;
mod start;
#[cfg(test)]
mod tests;

pub use settings::{ApgdSettings, ApgdTargetedSettings};

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches};
use mrpf_api::prelude::*;

use climb::Climb;
use course::Course;
use objective::Objective;
use plan::Plan;

register_plugin! {
    kind: Attack,
    name: "apgd-ce",
    summary: "gradient ascent with step sizes of its own on the cross-entropy: L-inf, L2, L1",
    source: "Croce & Hein 2020, arXiv 2003.01690, algorithm 1; L1: arXiv 2103.01208; as APGDAttack of fra31/auto-attack",
    settings: ApgdSettings,
    make: |settings| Ok(Searches::one(Apgd::untargeted(Objective::CrossEntropy, settings)?)),
}

register_plugin! {
    kind: Attack,
    name: "apgd-dlr",
    summary: "the same on the difference of logits ratio",
    source: "Croce & Hein 2020, arXiv 2003.01690, equation 6; as APGDAttack of fra31/auto-attack",
    settings: ApgdSettings,
    make: |settings| Ok(Searches::one(Apgd::untargeted(Objective::Dlr, settings)?)),
}

register_plugin! {
    kind: Attack,
    name: "apgd-t",
    summary: "the same on the targeted difference of logits ratio, once for each of the nearest classes",
    source: "Croce & Hein 2020, arXiv 2003.01690, equation 7; as APGDAttack_targeted of fra31/auto-attack",
    settings: ApgdTargetedSettings,
    make: |settings| Ok(Searches::one(Apgd::targeted(settings)?)),
}

/// A checked APGD.
pub(crate) struct Apgd {
    objective: Objective,
    /// How many of the wrong classes are targets, from the one with the highest clean logit on.
    targets: usize,
    settings: ApgdSettings,
}

impl Apgd {
    pub fn untargeted(objective: Objective, settings: ApgdSettings) -> Result<Self> {
        Ok(Self { objective, targets: 0, settings: settings.checked()? })
    }

    pub fn cross_entropy(settings: ApgdSettings) -> Result<Self> {
        Self::untargeted(Objective::CrossEntropy, settings)
    }

    pub fn dlr(settings: ApgdSettings) -> Result<Self> {
        Self::untargeted(Objective::Dlr, settings)
    }

    pub fn targeted(settings: ApgdTargetedSettings) -> Result<Self> {
        let (targets, settings) = settings.split()?;
        Ok(Self { objective: Objective::TargetedDlr, targets, settings })
    }

    /// From noise to the ends of the courses; `rank` is the place of the target among the classes of the clean image.
    fn run<'c>(
        &self,
        cx: &CallContext<'_>,
        ball: Ball,
        ground: &Ground<'_>,
        rows: &[(usize, &'c Case)],
        rank: usize,
    ) -> Result<Vec<Course<'c>>> {
        let streams = cx.streams.child("start");
        let noise = rows.iter().map(|(_, case)| start::noise(ball.norm, case, &streams));
        let settings = &self.settings;
        // L1 may begin in balls three and two times as large, where nothing counts but where the best point is.
        let stages = match settings.large_radii {
            true => vec![(3.0, part(settings.steps)), (2.0, part(settings.steps)), (1.0, rest(settings.steps))],
            false => vec![(1.0, settings.steps)],
        };
        let first = Ball { epsilon: stages[0].0 * ball.epsilon, ..ball };
        let mut starts: Vec<Vec<f64>> =
            rows.iter().zip(noise).map(|((_, case), noise)| start::place(first, &case.clean, &noise)).collect();
        let mut courses = Vec::new();
        for (at, &(factor, steps)) in stages.iter().enumerate() {
            let ball = Ball { epsilon: factor * ball.epsilon, ..ball };
            let mut plan = Plan::new(ball, steps, settings.rho);
            plan.goes_on = settings.large_radii;
            let is_last = at + 1 == stages.len();
            let climb = Climb {
                cx,
                ground,
                plan: &plan,
                objective: self.objective,
                gradients: settings.gradients,
                leave: is_last,
            };
            let begin = rows.iter().zip(starts);
            let begin =
                begin.map(|(&(row, case), start)| Course::new(row, case, case.ranking[rank], start, &plan)).collect();
            courses = climb.run(begin, &mut |_, _| ())?;
            starts = courses.iter().map(|course| course.best.clone()).collect();
            if let Some(&(next, _)) = stages.get(at + 1) {
                let next = Ball { epsilon: next / factor * ball.epsilon, ..ball };
                starts.iter_mut().zip(rows).for_each(|(start, (_, case))| next.project(&case.clean, start));
            }
        }
        Ok(courses)
    }
}

/// Steps in each of the larger balls.
fn part(steps: usize) -> usize {
    (0.3 * steps as f64).ceil() as usize
}

/// Steps in the ball itself.
fn rest(steps: usize) -> usize {
    steps - 2 * part(steps)
}

impl Search for Apgd {
    fn name(&self) -> &'static str {
        match self.objective {
            Objective::CrossEntropy => "apgd-ce",
            Objective::Dlr => "apgd-dlr",
            Objective::TargetedDlr => "apgd-t",
        }
    }

    fn least_classes(&self) -> usize {
        match self.objective {
            Objective::CrossEntropy => 2,
            Objective::Dlr => 3,
            Objective::TargetedDlr => 4,
        }
    }

    fn check(&self, norm: Norm) -> Result<()> {
        if self.settings.large_radii && norm != Norm::L1 {
            let message = format!("large_radii with norm {}, expected norm l1", norm.name());
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(())
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        let mut found: Vec<Vec<f64>> = ground.cases.iter().map(|case| case.clean.clone()).collect();
        let mut highest = vec![f64::NEG_INFINITY; found.len()];
        let mut left: Vec<(usize, &Case)> = ground.cases.iter().enumerate().collect();
        let classes = ground.classifier.classes();
        let ranks = if self.targets == 0 { 1..2 } else { 1..1 + self.targets.min(classes - 1) };
        for (rank, restart) in ranks.flat_map(|rank| (0..self.settings.restarts).map(move |restart| (rank, restart))) {
            if left.is_empty() {
                break;
            }
            for course in self.run(&cx.child(rank).child(restart), ball, ground, &left, rank)? {
                if course.broken {
                    found[course.row] = course.point;
                    left.retain(|(row, _)| *row != course.row);
                } else if course.best_loss > highest[course.row] {
                    (highest[course.row], found[course.row]) = (course.best_loss, course.best);
                }
            }
        }
        Ok(found)
    }
}
