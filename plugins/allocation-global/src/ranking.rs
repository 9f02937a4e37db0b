//! Channels in the order in which they go.

use mrpf_api::prelude::*;

/// A channel that may go: its comparable score and its group.
pub(crate) type Candidate = (f64, usize);

/// Checks the largest share of a group that may go.
///
/// # Errors
/// [`ErrorKind::Settings`] if it is not above 0 and at most 1.
pub(crate) fn check_max_ratio(max_ratio: f64) -> Result<()> {
    match max_ratio > 0.0 && max_ratio <= 1.0 {
        true => Ok(()),
        false => {
            let message = format!("max_ratio {max_ratio}, expected a share above 0 and at most 1");
            Err(Error::new(ErrorKind::Settings, message))
        }
    }
}

/// The channels of all groups that may go, group after group, with scores that `comparable` makes of a group's own.
pub(crate) fn candidates(
    request: &AllocationRequest<'_>,
    max_ratio: f64,
    comparable: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (at, (group, scores)) in request.problem.groups().iter().zip(request.scores).enumerate() {
        if group.frozen.is_some() || scores.is_empty() {
            continue;
        }
        let mut scores = comparable(scores);
        scores.sort_by(f64::total_cmp);
        let most = (group.channels as f64 * max_ratio).floor() as usize;
        all.extend(scores.into_iter().take(most).map(|score| (score, at)));
    }
    all
}

/// The groups of the channels, the lowest score first; equal scores in the order of the groups.
pub(crate) fn in_order(mut candidates: Vec<Candidate>) -> Vec<usize> {
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    candidates.into_iter().map(|(_, group)| group).collect()
}

/// Takes the same share of every pool, the first channels first, as large as the budget asks. A pool lists the groups of its channels.
pub(crate) fn solve(problem: &BudgetProblem, pools: &[Vec<usize>]) -> Result<Solution> {
    let groups = problem.groups();
    problem.solve(&|strength| {
        let mut gone = vec![0usize; groups.len()];
        for pool in pools {
            let count = (pool.len() as f64 * strength).round() as usize;
            pool[..count].iter().for_each(|&group| gone[group] += 1);
        }
        gone.iter().zip(groups).map(|(&gone, group)| gone as f64 / group.channels.max(1) as f64).collect()
    })
}
