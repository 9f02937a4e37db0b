//! Laws of allocations.

use super::problem::declaration;
use super::{Finding, Subject, Verdict, holds_if, law};
use crate::allocation::{Allocation, AllocationRequest};
use crate::budget::{BudgetKind, BudgetProblem, Constraints, Solution};
use crate::coupling::{ChannelGroup, channel_groups, cost};
use crate::{ErrorKind, Result};

const RATIOS: [f64; 4] = [0.0, 0.2, 0.4, 0.6];
const KINDS: [BudgetKind; 4] = BudgetKind::COUNTED;

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it keeps between one and all channels of each group, and all of a frozen one", || counts(subject)),
        law("the budget is met, or what stands between is said", || budget(subject)),
        law("it keeps to the widths that the constraints allow", || constrained(subject)),
        law("a ratio of 0 removes nothing", || nothing(subject)),
        law("the same request gets the same answer", || same(subject)),
    ]
}

/// What it answers for a budget and a ratio; `None` if that is out of its reach.
fn answer(
    subject: &Subject<'_>,
    kind: BudgetKind,
    ratio: f64,
    constraints: &Constraints,
) -> Result<Option<(BudgetProblem, Solution)>> {
    let declaration = declaration()?;
    let groups = channel_groups(&declaration)?;
    let problem = BudgetProblem::new(&declaration, &groups, kind, &cost(&declaration)?, ratio)?
        .within(&constraints.limits(&declaration, &groups)?);
    let has_module = |group: &ChannelGroup| group.producers().next().is_some();
    let sensitivities: Vec<Option<f64>> =
        groups.iter().enumerate().map(|(at, group)| has_module(group).then_some(0.1 + at as f64)).collect();
    let scores: Vec<Vec<f64>> = groups
        .iter()
        .map(|group| match group.frozen {
            Some(_) => Vec::new(),
            None => (0..group.channels).map(|channel| ((7 * channel) % 11) as f64 / 11.0).collect(),
        })
        .collect();
    let request = AllocationRequest { problem: &problem, sensitivities: &sensitivities, scores: &scores };
    match subject.make::<dyn Allocation>()?.allocate(&request) {
        Ok(solution) => Ok(Some((problem, solution))),
        Err(error) if error.kind() == ErrorKind::Budget => Ok(None),
        Err(error) => Err(error),
    }
}

/// Examines every answer that it gives where nothing constrains it.
fn every(subject: &Subject<'_>, examine: impl Fn(&BudgetProblem, &Solution) -> Result<Verdict>) -> Result<Verdict> {
    every_within(subject, &Constraints::default(), examine)
}

/// Examines every answer that it gives within these constraints.
fn every_within(
    subject: &Subject<'_>,
    constraints: &Constraints,
    examine: impl Fn(&BudgetProblem, &Solution) -> Result<Verdict>,
) -> Result<Verdict> {
    let mut answered = 0;
    for kind in KINDS {
        for ratio in RATIOS {
            let Some((problem, solution)) = answer(subject, kind, ratio, constraints)? else { continue };
            answered += 1;
            if let Verdict::Broken(how) = examine(&problem, &solution)? {
                return Ok(Verdict::Broken(format!("{} by {ratio}: {how}", kind.name())));
            }
        }
    }
    Ok(if answered == 0 { Verdict::Broken("every ratio is out of its reach".into()) } else { Verdict::Holds })
}

fn counts(subject: &Subject<'_>) -> Result<Verdict> {
    every(subject, |problem, solution| {
        let groups = problem.groups();
        if solution.keep.len() != groups.len() {
            return Ok(Verdict::Broken(format!("{} counts for {} groups", solution.keep.len(), groups.len())));
        }
        let wrong = groups.iter().zip(&solution.keep).find(|(group, keep)| {
            !(1..=group.channels).contains(*keep) || (group.frozen.is_some() && **keep != group.channels)
        });
        Ok(wrong.map_or(Verdict::Holds, |(group, keep)| {
            Verdict::Broken(format!("{keep} of the {} channels of `{}`", group.channels, group.name))
        }))
    })
}

fn budget(subject: &Subject<'_>) -> Result<Verdict> {
    every(subject, |problem, solution| {
        let achieved = problem.achieved(&solution.keep)?;
        if (achieved - solution.achieved).abs() > 1e-9 {
            return Ok(Verdict::Broken(format!("{:.4} is said to be gone, {achieved:.4} is", solution.achieved)));
        }
        let met = (achieved - problem.ratio()).abs() <= 0.01 + 1e-9;
        Ok(holds_if(met || solution.shortfall.is_some(), || format!("{achieved:.4} is gone, without a word on why")))
    })
}

fn constrained(subject: &Subject<'_>) -> Result<Verdict> {
    let usual = Constraints::default;
    for constraints in [
        Constraints { multiple: 2, ..usual() },
        Constraints { floor: 0.4, ceiling: 0.9, ..usual() },
        Constraints { keep: vec!["inn*".into()], ..usual() },
    ] {
        let verdict = every_within(subject, &constraints, |problem, solution| {
            Ok(match problem.check(&solution.keep) {
                Ok(()) => Verdict::Holds,
                Err(error) => Verdict::Broken(format!("with {constraints:?} it {error}")),
            })
        })?;
        if let Verdict::Broken(_) = verdict {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Holds)
}

fn nothing(subject: &Subject<'_>) -> Result<Verdict> {
    for kind in KINDS {
        if let Some((problem, solution)) = answer(subject, kind, 0.0, &Constraints::default())? {
            let whole: Vec<usize> = problem.groups().iter().map(|group| group.channels).collect();
            if solution.keep != whole {
                return Ok(Verdict::Broken(format!("{} by 0: it keeps {:?} of {whole:?}", kind.name(), solution.keep)));
            }
        }
    }
    Ok(Verdict::Holds)
}

fn same(subject: &Subject<'_>) -> Result<Verdict> {
    every(subject, |problem, solution| {
        let again = answer(subject, problem.kind(), problem.ratio(), &Constraints::default())?;
        let again = again.map(|(_, solution)| solution.keep);
        Ok(holds_if(again.as_ref() == Some(&solution.keep), || format!("{:?}, then {again:?}", solution.keep)))
    })
}
