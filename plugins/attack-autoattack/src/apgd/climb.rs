//! One run of APGD for many images at once.

use mrpf_api::attack::search::{Ground, Slopes};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use super::course::Course;
use super::objective::Objective;
use super::plan::Plan;

/// Sees the courses that are under way after each step; step 0 is the start.
pub(super) type Watch<'w> = dyn FnMut(usize, &[Course<'_>]) + 'w;

/// What one run climbs, and how.
pub(super) struct Climb<'a> {
    pub cx: &'a CallContext<'a>,
    pub ground: &'a Ground<'a>,
    pub plan: &'a Plan,
    pub objective: Objective,
    /// How many gradients are averaged for a step.
    pub gradients: usize,
    /// Whether an image leaves when it is misclassified; else all go to the last step.
    pub leave: bool,
}

impl Climb<'_> {
    /// Takes every course to its end: a misclassified point, or the last step. They come back in the order of their rows.
    pub fn run<'c>(&self, courses: Vec<Course<'c>>, watch: &mut Watch<'_>) -> Result<Vec<Course<'c>>> {
        let (mut live, mut done) = (courses, Vec::new());
        for step in 0..=self.plan.steps {
            if live.is_empty() {
                break;
            }
            self.cx.check_interrupt()?;
            if step > 0 {
                live.par_iter_mut().for_each(|course| course.advance(self.plan, step - 1));
            }
            let seen = self.look(&live, step == self.plan.steps)?;
            let each = seen.gradients.len() / live.len();
            live.par_iter_mut().enumerate().for_each(|(at, course)| {
                let (loss, gradient) = (seen.losses[at], &seen.gradients[at * each..(at + 1) * each]);
                match step {
                    0 => course.begin(loss, gradient),
                    _ => course.observe(step - 1, loss, gradient),
                }
                course.broken = seen.logits.predicted(at) != course.case.label;
            });
            if self.leave {
                let (left, stay) = live.into_iter().partition(|course| course.broken);
                done.append(&mut { left });
                live = stay;
            }
            if step > 0 && step < self.plan.steps && self.plan.windows[step - 1] > 0 {
                let window = self.plan.windows[step - 1];
                live.par_iter_mut().for_each(|course| course.check(self.plan, step - 1, window));
            }
            watch(step, &live);
        }
        done.append(&mut live);
        done.sort_by_key(|course| course.row);
        Ok(done)
    }

    /// Loss and gradient where the courses stand; after the last step the loss alone.
    fn look(&self, live: &[Course<'_>], is_last: bool) -> Result<Slopes> {
        let points = || live.iter().map(|course| course.point.as_slice());
        let labels: Vec<usize> = live.iter().map(|course| course.case.label).collect();
        let targets: Vec<usize> = live.iter().map(|course| course.target).collect();
        let loss = |logits: &Tensor| self.objective.per_image(logits, &labels, &targets);
        if is_last {
            return self.ground.losses(points(), &loss);
        }
        let mut seen = self.ground.slopes(points(), &loss)?;
        for _ in 1..self.gradients {
            let again = self.ground.slopes(points(), &loss)?;
            seen.gradients.iter_mut().zip(&again.gradients).for_each(|(sum, slope)| *sum += slope);
            seen = Slopes { gradients: seen.gradients, ..again };
        }
        if self.gradients > 1 {
            seen.gradients.iter_mut().for_each(|slope| *slope /= self.gradients as f64);
        }
        Ok(seen)
    }
}
