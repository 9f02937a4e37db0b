//! The Square attack: random search with queries alone (Andriushchenko et al. 2020, arXiv 1912.00049).

mod course;
mod pattern;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod window;

pub use settings::SquareSettings;

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use course::{Course, Square};
use schedule::{share, side};

register_plugin! {
    kind: Attack,
    name: "square",
    summary: "random search that needs no gradient: L-inf, L2, L1",
    source: "Andriushchenko et al. 2020, arXiv 1912.00049; as SquareAttack of fra31/auto-attack, with windows of each image's own",
    settings: SquareSettings,
    make: |settings| Ok(Searches::one(SquareAttack::new(settings)?)),
}

/// A checked Square.
pub(crate) struct SquareAttack(SquareSettings);

/// Sees the courses that are under way after each query; query 0 is the start.
type Watch<'w> = dyn FnMut(usize, &[Course<'_>]) + 'w;

impl SquareAttack {
    pub fn new(settings: SquareSettings) -> Result<Self> {
        Ok(Self(settings.checked()?))
    }

    /// Takes every course to a margin that is not positive, or to the last query; they come back in the order of their rows.
    fn run<'c>(
        &self,
        cx: &CallContext<'_>,
        ball: Ball,
        ground: &Ground<'_>,
        courses: Vec<Course<'c>>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Course<'c>>> {
        let (mut live, mut done) = (courses, Vec::new());
        let (form, rescaled) = (&ground.form, self.0.rescale_schedule.then_some(self.0.queries));
        let mut square = Square::new(ball.norm, 1);
        for query in 0..=self.0.queries {
            if live.is_empty() {
                break;
            }
            cx.check_interrupt()?;
            if query > 0 {
                let side = side(ball.norm, share(query - 1, self.0.p_init, rescaled), form.height, form.width);
                if side != square.side {
                    square = Square::new(ball.norm, side);
                }
                live.par_iter_mut().for_each(|course| course.propose(ball, form, &square));
            }
            let logits = ground.logits(live.iter().map(|course| course.proposal.as_slice()))?;
            live.iter_mut().enumerate().for_each(|(at, course)| course.judge(logits.margin(at, course.case.label)));
            watch(query, &live);
            let (left, stay) = live.into_iter().partition(|course| course.margin <= 0.0);
            done.append(&mut { left });
            live = stay;
        }
        done.append(&mut live);
        done.sort_by_key(|course| course.row);
        Ok(done)
    }
}

impl Search for SquareAttack {
    fn name(&self) -> &'static str {
        "square"
    }

    fn means(&self) -> AttackMeans {
        AttackMeans::Queries
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        let mut found: Vec<Vec<f64>> = ground.cases.iter().map(|case| case.clean.clone()).collect();
        let mut lowest = vec![f64::INFINITY; found.len()];
        let mut left: Vec<(usize, &Case)> = ground.cases.iter().enumerate().collect();
        for restart in 0..self.0.restarts {
            let streams = cx.streams.child(restart);
            let courses = left.iter().map(|&(row, case)| {
                let mut stream = streams.child(case.index).stream();
                Course::new(row, case, ball, &ground.form, Box::new(move || stream.unit()))
            });
            for course in self.run(cx, ball, ground, courses.collect(), &mut |_, _| ())? {
                if course.margin < lowest[course.row] {
                    (lowest[course.row], found[course.row]) = (course.margin, course.best);
                }
            }
            left.retain(|(row, _)| lowest[*row] >= 0.0);
        }
        Ok(found)
    }
}
