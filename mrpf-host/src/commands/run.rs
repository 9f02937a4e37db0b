//! `mrpf run`: a whole experiment.

use mrpf_api::Result;
use mrpf_api::sensitivity::ModuleSensitivity;
use std::collections::BTreeMap;
use std::time::Instant;

use super::Console;
use super::foresee::foresee;
use super::open::open_run;
use crate::cli::RunArgs;
use crate::event::{Event, EventSink};
use crate::experiment::{Ahead, Experiment, PluginChoice, Repeated, Variant};
use crate::pipeline::Session;
use crate::pruning::Dense;
use crate::results::Row;
use crate::training::{Select, TrainingSettings};

/// Trains, measures, prunes, fine-tunes, attacks and compares.
pub fn run(args: &RunArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let opened = open_run(args, |experiment| experiment.name.clone(), console)?;
    let stages = count_stages(&opened.experiment)?;
    let session = Session::open(opened, stages, console.events, console.watcher)?;
    for Repeated { row, first } in session.experiment.variants_and_repeated().1 {
        let message = format!("row `{row}` prunes and fine-tunes as `{first}` does, and is left out");
        session.send(Event::Warning { about: "compare".into(), message });
    }
    // What the constraints name must be there before hours go into training.
    let declared = session.declare()?;
    Dense::new(&declared, &session.experiment.prune)?;
    let (variants, metrics) = (session.experiment.variants(), metrics(&session.experiment)?);
    let ahead = Ahead {
        trainings: &[("pretrain", &session.experiment.pretrain)],
        variants: &variants,
        attacks: Some(&session.experiment.evaluate),
        ..Ahead::default()
    };
    foresee(&session, &declared, &ahead)?;
    let standard = session.experiment.standard_baseline.then(|| TrainingSettings {
        trainer: PluginChoice::named("standard"),
        select: Select::BestClean,
        ..session.experiment.pretrain.clone()
    });
    check_resumed(&session, standard.as_ref(), &variants, &metrics)?;
    let mut rows: Vec<Row> = Vec::new();

    if let Some(settings) = standard {
        let (network, training) = session.pretrained("train standard", "dense-standard", &settings)?;
        rows.push(session.dense_row("dense-standard", &network, &training)?);
    }
    let settings = session.experiment.pretrain.clone();
    let (dense, training) = session.pretrained("train dense", "dense", &settings)?;
    rows.push(session.dense_row("dense", &dense, &training)?);

    // Each metric is measured once, just before the first row that needs it.
    let mut measured: BTreeMap<&str, Vec<ModuleSensitivity>> = BTreeMap::new();
    for variant in variants {
        let metric = metrics.iter().find(|metric| metric.choice == variant.prune.sensitivity);
        let modules = match metric.filter(|metric| metric.rows.contains(&variant.name)) {
            None => Vec::new(),
            Some(metric) => match measured.get(metric.label.as_str()) {
                Some(modules) => modules.clone(),
                None => {
                    let modules = session.sensitivities(&metric.label, &metric.choice, &dense)?;
                    measured.entry(&metric.label).or_insert(modules).clone()
                }
            },
        };
        let finished = session.pruned_and_finetuned(&variant, &dense, &modules)?;
        rows.push(session.variant_row(&variant, &finished)?);
        // Written after every row, so that a run that is stopped leaves the rows it has.
        session.write_results(&rows)?;
    }
    session.finish(&rows, start.elapsed().as_secs_f64())
}

/// A metric of a run, what its result is kept as, and the rows that need it.
struct Metric {
    choice: PluginChoice,
    label: String,
    rows: Vec<String>,
}

/// The metrics that the rows need. One that is used with several settings is also called by the first row that needs it.
fn metrics(experiment: &Experiment) -> Result<Vec<Metric>> {
    let mut metrics: Vec<Metric> = Vec::new();
    for variant in experiment.variants() {
        if !variant.needs_sensitivity()? {
            continue;
        }
        let choice = variant.prune.sensitivity;
        if let Some(known) = metrics.iter_mut().find(|metric| metric.choice == choice) {
            known.rows.push(variant.name);
            continue;
        }
        let is_named_twice = metrics.iter().any(|metric| metric.choice.name == choice.name);
        let label = if is_named_twice { format!("{} {}", choice.name, variant.name) } else { choice.name.clone() };
        metrics.push(Metric { choice, label, rows: vec![variant.name] });
    }
    Ok(metrics)
}

/// Checks every stage that is done already, before anything is computed.
fn check_resumed(
    session: &Session<'_>,
    standard: Option<&TrainingSettings>,
    variants: &[Variant],
    metrics: &[Metric],
) -> Result<()> {
    if let Some(settings) = standard {
        session.check_pretraining("train standard", "dense-standard", settings)?;
    }
    session.check_pretraining("train dense", "dense", &session.experiment.pretrain)?;
    for metric in metrics {
        session.check_measuring(&metric.label, &metric.choice)?;
    }
    variants.iter().try_for_each(|variant| session.check_row(variant))
}

fn count_stages(experiment: &Experiment) -> Result<usize> {
    let dense = 1 + usize::from(experiment.standard_baseline);
    // Each is cut, fine-tuned if there are epochs for it, and attacked.
    let of_each = if experiment.finetune.epochs > 0 { 3 } else { 2 };
    Ok(2 * dense + metrics(experiment)?.len() + of_each * experiment.variants().len())
}
