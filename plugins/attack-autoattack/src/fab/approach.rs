//! One run of FAB for many images at once.

use mrpf_api::attack::search::{Ground, Slopes};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use super::course::{Course, Pull, Rival};

/// Sees the courses that are under way after each step, before they are judged.
pub(super) type Watch<'w> = dyn FnMut(usize, &[Course<'_>]) + 'w;

/// Which classes a run goes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Whatever class is nearest at each point.
    Nearest,
    /// The class of that rank for the clean image.
    Rank(usize),
}

/// Where a run goes, and how.
pub(super) struct Approach<'a> {
    pub cx: &'a CallContext<'a>,
    pub ground: &'a Ground<'a>,
    pub pull: Pull,
    pub steps: usize,
    pub aim: Aim,
    /// An image leaves when it is broken within this distance.
    pub epsilon: f64,
}

impl Approach<'_> {
    /// Takes every course to its end; they come back in the order of their rows.
    pub fn run<'c>(&self, courses: Vec<Course<'c>>, watch: &mut Watch<'_>) -> Result<Vec<Course<'c>>> {
        let (mut live, mut done, pull) = (courses, Vec::new(), self.pull);
        for step in 0..self.steps {
            if live.is_empty() {
                break;
            }
            self.cx.check_interrupt()?;
            let seen = self.look(&live)?;
            live.par_iter_mut().enumerate().for_each(|(at, course)| {
                let each = course.point.len();
                let rivals: Vec<Rival<'_>> = seen
                    .iter()
                    .map(|seen| Rival { lead: seen.losses[at], slope: &seen.gradients[at * each..(at + 1) * each] })
                    .collect();
                course.step(&pull, &rivals);
            });
            watch(step, &live);
            let logits = self.ground.logits(live.iter().map(|course| course.point.as_slice()))?;
            live.par_iter_mut().enumerate().for_each(|(at, course)| {
                course.judge(&pull, logits.predicted(at) != course.case.label);
            });
            let (left, stay) = live.into_iter().partition(|course| course.broken(self.epsilon).is_some());
            done.append(&mut { left });
            live = stay;
        }
        done.append(&mut live);
        done.sort_by_key(|course| course.row);
        Ok(done)
    }

    /// How far each rival's logit is above the label's where the courses stand, with its gradient; rival after rival.
    fn look(&self, live: &[Course<'_>]) -> Result<Vec<Slopes>> {
        let classes = self.ground.classifier.classes();
        let labels: Vec<usize> = live.iter().map(|course| course.case.label).collect();
        let rivals: Vec<Vec<usize>> = match self.aim {
            Aim::Rank(rank) => vec![live.iter().map(|course| course.case.ranking[rank]).collect()],
            Aim::Nearest => {
                let others = 1..classes;
                others.map(|number| labels.iter().map(|label| (label + number) % classes).collect()).collect()
            }
        };
        self.ground.leads(live.iter().map(|course| course.point.as_slice()), &labels, &rivals)
    }
}
