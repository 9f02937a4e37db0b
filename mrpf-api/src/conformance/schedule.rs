//! Laws of pruning schedules.

use super::{Finding, Subject, Verdict, holds_if, law};
use crate::Result;
use crate::schedule::PruningSchedule;

const FINAL: [f64; 4] = [0.0, 0.3, 0.5, 0.95];

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it ends at its target", || ends(subject)),
        law("it never falls", || rises(subject)),
        law("it stays between nothing and its target", || inside(subject)),
    ]
}

/// Progress from 0 to 1 with the ratio at each.
fn way(schedule: &dyn PruningSchedule, target: f64) -> Vec<(f64, f64)> {
    (0..=100).map(|at| f64::from(at) / 100.0).map(|progress| (progress, schedule.ratio(progress, target))).collect()
}

fn ends(subject: &Subject<'_>) -> Result<Verdict> {
    let schedule = subject.make::<dyn PruningSchedule>()?;
    let wrong =
        FINAL.into_iter().map(|target| (target, schedule.ratio(1.0, target))).find(|(target, end)| target != end);
    Ok(wrong.map_or(Verdict::Holds, |(target, end)| Verdict::Broken(format!("asked for {target}, it ends at {end}"))))
}

fn rises(subject: &Subject<'_>) -> Result<Verdict> {
    let schedule = subject.make::<dyn PruningSchedule>()?;
    for target in FINAL {
        for pair in way(schedule.as_ref(), target).windows(2) {
            let ((_, before), (progress, ratio)) = (pair[0], pair[1]);
            // A ratio that is not a number is no rise either.
            if ratio < before || ratio.is_nan() {
                return Ok(Verdict::Broken(format!(
                    "for {target} it goes from {before} to {ratio} at progress {progress}"
                )));
            }
        }
    }
    Ok(Verdict::Holds)
}

fn inside(subject: &Subject<'_>) -> Result<Verdict> {
    let schedule = subject.make::<dyn PruningSchedule>()?;
    for target in FINAL {
        let outside = way(schedule.as_ref(), target).into_iter().find(|(_, ratio)| !(0.0..=target).contains(ratio));
        if let Some((progress, ratio)) = outside {
            return Ok(Verdict::Broken(format!("for {target} it is {ratio} at progress {progress}")));
        }
    }
    Ok(holds_if(true, String::new))
}
