//! The search for whole widths between those of two strengths.

use super::{BudgetProblem, TOLERANCE};

/// The allowed width that is nearest to a number of channels; of two as near, the larger. `allowed` is ascending and not empty.
pub(super) fn nearest_width(allowed: &[usize], channels: f64) -> usize {
    let above = allowed.partition_point(|&width| (width as f64) < channels);
    match (above.checked_sub(1).map(|below| allowed[below]), allowed.get(above)) {
        (Some(below), Some(&above)) if channels - (below as f64) < above as f64 - channels => below,
        (Some(below), None) => below,
        (_, Some(&above)) => above,
        (None, None) => 0,
    }
}

/// The largest allowed width below this one.
fn narrower(allowed: &[usize], width: usize) -> Option<usize> {
    allowed[..allowed.partition_point(|&other| other < width)].last().copied()
}

/// The smallest allowed width above this one.
fn wider(allowed: &[usize], width: usize) -> Option<usize> {
    allowed.get(allowed.partition_point(|&other| other <= width)).copied()
}

impl BudgetProblem {
    /// The widths nearest to the budget between `ends`, of which the first cost too much and the second do not; `widest` and
    /// `narrowest` are what no group may leave.
    pub(super) fn nearest(&self, ends: &(Vec<usize>, Vec<usize>), widest: &[usize], narrowest: &[usize]) -> Vec<usize> {
        let (above, below) = ends;
        let nearest = self.between(above.clone(), below);
        // One step beyond the widths of the family at most, so that its shares stay recognisable.
        let beyond = |step: fn(&[usize], usize) -> Option<usize>, widths: &[usize]| -> Vec<usize> {
            self.allowed.iter().zip(widths).map(|(allowed, &width)| step(allowed, width).unwrap_or(width)).collect()
        };
        let fewest: Vec<usize> =
            beyond(narrower, below).into_iter().zip(narrowest).map(|(at, &end)| at.max(end)).collect();
        let most: Vec<usize> = beyond(wider, above).into_iter().zip(widest).map(|(at, &end)| at.min(end)).collect();
        self.exchanged(nearest, &fewest, &most)
    }

    /// Walks from `above` to `below`, one step of one group at a time and the groups in turn, passing over steps that would
    /// remove too much; the nearest widths on the way.
    fn between(&self, mut widths: Vec<usize>, below: &[usize]) -> Vec<usize> {
        let mut best = (self.distance(&widths), widths.clone());
        let mut moved = true;
        while moved {
            moved = false;
            for at in 0..widths.len() {
                let before = widths[at];
                let Some(next) = narrower(&self.allowed[at], before).filter(|&next| next >= below[at]) else {
                    continue;
                };
                widths[at] = next;
                let distance = self.distance(&widths);
                if distance < best.0 {
                    best = (distance, widths.clone());
                }
                if self.share_removed(&widths) > self.ratio {
                    widths[at] = before;
                } else {
                    moved = true;
                }
            }
        }
        best.1
    }

    /// Widens one group by a step and narrows another, the best such pair first, until the figure is well within
    /// [`TOLERANCE`] or comes no nearer.
    fn exchanged(&self, widths: Vec<usize>, fewest: &[usize], most: &[usize]) -> Vec<usize> {
        let mut best = (self.distance(&widths), widths);
        while best.0 > TOLERANCE / 2.0 {
            let start = best.1.clone();
            let mut tried = start.clone();
            for up in 0..start.len() {
                let Some(more) = wider(&self.allowed[up], start[up]).filter(|&more| more <= most[up]) else { continue };
                tried[up] = more;
                for down in (0..start.len()).filter(|&down| down != up) {
                    let less = narrower(&self.allowed[down], start[down]).filter(|&less| less >= fewest[down]);
                    let Some(less) = less else { continue };
                    tried[down] = less;
                    let distance = self.distance(&tried);
                    if distance < best.0 {
                        best = (distance, tried.clone());
                    }
                    tried[down] = start[down];
                }
                tried[up] = start[up];
            }
            if best.1 == start {
                break;
            }
        }
        best.1
    }
}
