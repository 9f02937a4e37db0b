//! From the directories of stages to what the comparison found.

use mrpf_api::coupling::cost;
use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::findings::{DenseFinding, Failure, Finding, Findings, Place};
use super::grid::Grid;
use super::plan::{Plan, PlannedDense, PlannedRow};
use super::store::Store;
use super::work::names;
use crate::evaluation::{Evaluation, robust_overfitting};
use crate::experiment::Experiment;
use crate::pipeline::TrainedRecord;
use crate::results::Row;
use crate::run_dir::RunDir;

/// Reads what there is; what is missing becomes failures with their reasons.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if a result cannot be read.
pub fn collect(experiment: &Experiment, grid: &Grid, plan: &Plan, store: &Store) -> Result<Findings> {
    let mut findings = Findings {
        experiment: experiment.clone(),
        axes: grid.axes.clone(),
        methods: grid.methods.clone(),
        dense: Vec::new(),
        pruned: Vec::new(),
        failures: failures(plan, store)?,
    };
    // Where a dense network stands among those that were found.
    let mut found = Vec::with_capacity(plan.dense.len());
    for (at, planned) in plan.dense.iter().enumerate() {
        let complete = store.done(&planned.train)?.is_some() && store.done(&planned.attack)?.is_some();
        found.push(complete.then_some(findings.dense.len()));
        if complete {
            let settings = plan.rows.iter().find(|row| row.dense == at).map_or(experiment, |row| &row.cell.experiment);
            findings.dense.push(dense(planned, settings, store)?);
        }
    }
    for planned in &plan.rows {
        let complete = store.done(&planned.prune)?.is_some() && store.done(&planned.attack)?.is_some();
        if complete {
            findings.pruned.push(pruned(planned, found[planned.dense], store)?);
        }
    }
    Ok(findings)
}

fn dense(planned: &PlannedDense, experiment: &Experiment, store: &Store) -> Result<DenseFinding> {
    let (trained, attacked) = (store.read(&planned.train)?, store.read(&planned.attack)?);
    let network: Network = there(&trained, names::DENSE, trained.read_network(names::DENSE))?;
    let training: TrainedRecord = there(&trained, names::DENSE, trained.read_training(names::DENSE))?;
    let evaluation = there(&attacked, names::DENSE, attacked.read_evaluation(names::DENSE))?;
    let path = relative(store, &trained.network(names::DENSE));
    let name = format!("dense{}", Place::settings_text(&planned.settings));
    let mut row = row(&name, &cost(network.declaration())?, &evaluation, experiment, &path);
    row.trainer.clone_from(&training.trainer);
    note_training(&mut row, &training);
    let mut sensitivities = Vec::new();
    for (metric, key) in &planned.measure {
        if store.done(key)?.is_some() {
            let measured = store.read(key)?;
            let modules = there(&measured, metric, measured.read_sensitivity(names::SENSITIVITY))?;
            sensitivities.push((metric.clone(), modules));
        }
    }
    Ok(DenseFinding { settings: planned.settings.clone(), row, training, evaluation, sensitivities, network: path })
}

fn pruned(planned: &PlannedRow, dense: Option<usize>, store: &Store) -> Result<Finding> {
    let (place, variant) = (&planned.cell.place, &planned.cell.variant);
    let (made, attacked) = (store.read(&planned.prune)?, store.read(&planned.attack)?);
    let training: TrainedRecord = there(&made, names::PRUNED, made.read_training(names::PRUNED))?;
    let mut cut = there(&made, "plan", made.read_plans().map(|mut plans| plans.pop()))?;
    cut.row = place.to_string();
    let evaluation = there(&attacked, names::PRUNED, attacked.read_evaluation(names::PRUNED))?;
    let as_cut = match variant.finetune.epochs {
        0 => None,
        _ => Some(there(&attacked, names::CUT, attacked.read_evaluation(names::CUT))?),
    };
    let path = relative(store, &made.network(names::PRUNED));
    let mut row = row(&cut.row, &cut.pruned, &evaluation, &planned.cell.experiment, &path);
    row.sensitivity = variant.needs_sensitivity()?.then(|| variant.prune.sensitivity.name.clone());
    row.criterion = Some(variant.prune.criterion.name.clone());
    row.allocation = Some(variant.prune.allocation.name.clone());
    row.schedule = Some(variant.prune.schedule.name.clone());
    row.trainer.clone_from(&variant.finetune.trainer.name);
    row.ratio_asked = variant.prune.ratio;
    if let Some(last) = cut.last() {
        row.ratio_achieved = last.ratio_achieved;
        row.shortfall.clone_from(&last.shortfall);
    }
    row.clean_accuracy_pruned = as_cut.as_ref().map(Evaluation::clean_accuracy);
    row.robust_accuracy_pruned = as_cut.as_ref().map(Evaluation::robust_accuracy);
    row.seed = place.seed;
    note_training(&mut row, &training);
    Ok(Finding { place: place.clone(), dense, cost: cut.pruned, row, cut, training, evaluation, network: path })
}

fn row(
    name: &str,
    cost: &mrpf_api::coupling::Cost,
    evaluation: &Evaluation,
    experiment: &Experiment,
    model: &Path,
) -> Row {
    let mut row = Row::measured(name, cost, evaluation);
    row.budget = experiment.prune.budget.name().into();
    row.seed = experiment.seed;
    row.epsilon = experiment.evaluate.threat.epsilon.to_string();
    row.model = model.display().to_string();
    row
}

fn note_training(row: &mut Row, training: &TrainedRecord) {
    row.best_and_last_robust = training.best_and_last();
    row.signs.extend(row.best_and_last_robust.and_then(|[best, last]| robust_overfitting(best, last)));
}

/// Stages that failed, with the rows that are missing because of each.
fn failures(plan: &Plan, store: &Store) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    for stage in &plan.stages {
        let Some(failed) = store.failure(&stage.key)? else { continue };
        let missing = plan.rows.iter().filter(|row| depends(plan, row, &stage.key));
        let places = missing.map(|row| row.cell.place.clone()).collect();
        failures.push(Failure { stage: stage.name.clone(), reason: failed.reason, places });
    }
    Ok(failures)
}

fn depends(plan: &Plan, row: &PlannedRow, key: &str) -> bool {
    let needs = |stage: &str| plan.stage(stage).is_some_and(|stage| stage.work.needs().any(|need| need == key));
    let dense = &plan.dense[row.dense];
    [&row.prune, &row.attack, &dense.train].iter().any(|stage| *stage == key) || needs(&row.prune)
}

fn there<T>(dir: &RunDir, what: &str, found: Result<Option<T>>) -> Result<T> {
    let at = dir.path().display();
    let hint = format!("remove the directory {at}; the same command then computes it anew");
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Error::new(ErrorKind::Checkpoint, format!("{at} lacks its `{what}`")).hint(hint)),
        Err(error) if error.kind() == ErrorKind::Checkpoint => Err(error.hint(hint)),
        Err(error) => Err(error),
    }
}

fn relative(store: &Store, path: &Path) -> PathBuf {
    path.strip_prefix(store.path()).unwrap_or(path).to_owned()
}
