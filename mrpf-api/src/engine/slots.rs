//! Which buffer holds which value: one that nobody reads any more is used again.

use super::plan::{IMAGES, Plan, Value};

/// A buffer for each value.
#[derive(Debug)]
pub(super) struct Slots {
    /// By value; the images have none.
    of_value: Vec<usize>,
    count: usize,
}

impl Slots {
    /// For the forward pass: a value lives from the step that makes it to the last that reads it.
    pub fn of_values(plan: &Plan) -> Self {
        let last_read = last_reads(plan);
        let lives = (1..plan.sizes.len()).map(|value| (value, value - 1, last_read[value].max(value - 1))).collect();
        Self::assign(plan.sizes.len(), lives)
    }

    /// For the backward pass, where the last step comes first: a gradient lives from the last step that reads its value to the one
    /// that makes it.
    pub fn of_gradients(plan: &Plan) -> Self {
        let steps = plan.steps.len();
        let last_read = last_reads(plan);
        let turned = |step: usize| steps - 1 - step;
        let lives = (1..=steps).rev().map(|value| {
            let start = if last_read[value] > value - 1 { turned(last_read[value]) } else { 0 };
            (value, start, turned(value - 1))
        });
        let mut lives: Vec<_> = lives.collect();
        lives.sort_by_key(|(_, start, _)| *start);
        Self::assign(plan.sizes.len(), lives)
    }

    /// Greedy, for lives `(value, first step, last step)` in the order of their beginning.
    fn assign(values: usize, lives: Vec<(Value, usize, usize)>) -> Self {
        let mut of_value = vec![usize::MAX; values];
        let mut free_after: Vec<usize> = Vec::new();
        for (value, start, end) in lives {
            let slot = free_after.iter().position(|after| *after < start).unwrap_or(free_after.len());
            match free_after.get_mut(slot) {
                Some(after) => *after = end,
                None => free_after.push(end),
            }
            of_value[value] = slot;
        }
        Self { of_value, count: free_after.len() }
    }

    /// The buffer of a value.
    pub fn of(&self, value: Value) -> usize {
        self.of_value[value]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// The last step that reads each value; 0 for one that none reads.
fn last_reads(plan: &Plan) -> Vec<usize> {
    let mut last = vec![0; plan.sizes.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        for value in [Some(step.input), step.other].into_iter().flatten().filter(|value| *value != IMAGES) {
            last[value] = at;
        }
    }
    last
}
