//! The geometric median by Weiszfeld's algorithm, with Newton's steps where they lead further.

use mrpf_api::rayon::prelude::*;

use super::distances::distance;
use super::newton::newton_step;

/// The point from which the sum of the Euclidean distances to `points`, all of one dimension, is least; empty for no points, and
/// not a number where a coordinate is none.
///
/// Weiszfeld's step puts the mean, weighted by the inverse distances, in the place of the current point. At one of the points, whose
/// weight would be infinite, it is shortened by how often the point occurs against the pull of the others (Vardi and Zhang 2000, The
/// multivariate L1-median and associated data depth). Alone it creeps where the median is one of the points, or near one: their test
/// tells whether the nearest point is the median, and Newton's step is taken wherever it leads to a smaller sum. Ends with a
/// step below `tolerance` times the mean distance, or after `steps`. Where points lie on a line and their number is even the median is
/// not unique, and one of them is found.
pub fn geometric_median(points: &[&[f64]], tolerance: f64, steps: usize) -> Vec<f64> {
    let Some(first) = points.first() else { return Vec::new() };
    let mut centre = vec![0.0; first.len()];
    for point in points {
        add(&mut centre, 1.0 / points.len() as f64, point);
    }
    let mut here = Place::new(points, centre);
    let mut tested = None;
    for _ in 0..steps {
        if !here.sum.is_finite() {
            break;
        }
        let nearest = here.nearest();
        if tested != Some(nearest) {
            tested = Some(nearest);
            let there = Place::new(points, points[nearest].to_vec());
            if there.pull(points).weiszfeld_step().is_none() {
                return there.at;
            }
        }
        let Some(next) = here.next(points) else { break };
        let (length, spread) = (distance(&next.at, &here.at), here.spread());
        here = next;
        if length <= tolerance * spread {
            break;
        }
    }
    here.at
}

/// How much of Newton's step is tried, in this order.
const SHARES: [f64; 4] = [1.0, 0.5, 0.25, 0.125];

/// A place, and the distances of all points from it.
struct Place {
    at: Vec<f64>,
    distances: Vec<f64>,
    sum: f64,
}

impl Place {
    fn new(points: &[&[f64]], at: Vec<f64>) -> Self {
        let distances: Vec<f64> = points.par_iter().map(|point| distance(point, &at)).collect();
        let sum = distances.iter().sum();
        Self { at, distances, sum }
    }

    fn spread(&self) -> f64 {
        self.sum / self.distances.len() as f64
    }

    fn nearest(&self) -> usize {
        let by_distance = |a: &usize, b: &usize| self.distances[*a].total_cmp(&self.distances[*b]);
        (0..self.distances.len()).min_by(by_distance).unwrap_or(0)
    }

    /// The better of both steps; none where this place is the median.
    fn next(&self, points: &[&[f64]]) -> Option<Self> {
        let pull = self.pull(points);
        let weiszfeld = self.moved(points, &pull.weiszfeld_step()?, 1.0);
        let Some(step) = newton_step(points, &self.at, &self.distances, &pull) else { return Some(weiszfeld) };
        // Whole, Newton's step leads past a point that lies in its way.
        let mut shares = SHARES.iter().map(|share| self.moved(points, &step, *share));
        Some(shares.find(|newton| newton.sum < weiszfeld.sum).unwrap_or(weiszfeld))
    }

    fn moved(&self, points: &[&[f64]], step: &[f64], share: f64) -> Self {
        Self::new(points, self.at.iter().zip(step).map(|(at, step)| at + share * step).collect())
    }

    fn pull(&self, points: &[&[f64]]) -> Pull {
        let mut pull = Pull { points_here: 0.0, weight: 0.0, force: vec![0.0; self.at.len()] };
        for (point, &distance) in points.iter().zip(&self.distances) {
            // Nearer than rounding can tell counts as being there.
            if distance <= 1e-14 * self.spread() {
                pull.points_here += 1.0;
                continue;
            }
            pull.weight += 1.0 / distance;
            let towards = pull.force.iter_mut().zip(point.iter().zip(&self.at));
            towards.for_each(|(force, (point, here))| *force += (point - here) / distance);
        }
        pull
    }
}

/// How the points pull at a place.
pub(crate) struct Pull {
    /// How many points lie at the place: these do not pull but hold.
    pub points_here: f64,
    /// The sum of the inverse distances of the others.
    pub weight: f64,
    /// The sum of the unit vectors towards the others.
    pub force: Vec<f64>,
}

impl Pull {
    /// The step to the weighted mean; none where the place is the median.
    fn weiszfeld_step(&self) -> Option<Vec<f64>> {
        let strength = self.force.iter().map(|force| force * force).sum::<f64>().sqrt();
        if strength <= self.points_here {
            return None;
        }
        let factor = (1.0 - self.points_here / strength) / self.weight;
        Some(self.force.iter().map(|force| factor * force).collect())
    }
}

fn add(sum: &mut [f64], factor: f64, term: &[f64]) {
    sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += factor * term);
}
