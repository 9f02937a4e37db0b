//! `mrpf run`: a whole experiment.

use mrpf_api::Result;
use std::time::Instant;

use super::Console;
use super::foresee::foresee;
use super::open::open_run;
use crate::cli::RunArgs;
use crate::event::{Event, EventSink};
use crate::experiment::{Ahead, Experiment, PluginChoice, Repeated};
use crate::pipeline::Session;
use crate::pruning::Dense;
use crate::results::Row;
use crate::training::Select;

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
    let experiment = &session.experiment;
    let ahead = Ahead {
        trainings: &[("pretrain", &experiment.pretrain)],
        variants: &experiment.variants(),
        attacks: Some(&experiment.evaluate),
        ..Ahead::default()
    };
    foresee(&session, &declared, &ahead)?;
    let mut rows: Vec<Row> = Vec::new();

    if session.experiment.standard_baseline {
        let mut settings = session.experiment.pretrain.clone();
        settings.trainer = PluginChoice::named("standard");
        settings.select = Select::BestClean;
        let (network, training) =
            session
                .trained("train standard", "dense-standard", "pretrain", &settings, None, || session.fresh_network())?;
        rows.push(session.dense_row("dense-standard", &network, &training)?);
    }
    let settings = session.experiment.pretrain.clone();
    let (dense, training) =
        session.trained("train dense", "dense", "pretrain", &settings, None, || session.fresh_network())?;
    rows.push(session.dense_row("dense", &dense, &training)?);

    let mut measured: Vec<(PluginChoice, Vec<_>)> = Vec::new();
    for variant in session.experiment.variants() {
        let metric = &variant.prune.sensitivity;
        let modules = match variant.needs_sensitivity()? {
            false => Vec::new(),
            true => match measured.iter().find(|(choice, _)| choice == metric) {
                Some((_, modules)) => modules.clone(),
                None => {
                    let label = if measured.iter().any(|(choice, _)| choice.name == metric.name) {
                        format!("{} {}", metric.name, variant.name)
                    } else {
                        metric.name.clone()
                    };
                    let modules = session.sensitivities(&label, metric, &dense)?;
                    measured.push((metric.clone(), modules.clone()));
                    modules
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

fn count_stages(experiment: &Experiment) -> Result<usize> {
    let mut metrics: Vec<PluginChoice> = Vec::new();
    let variants = experiment.variants();
    for variant in &variants {
        if variant.needs_sensitivity()? && !metrics.contains(&variant.prune.sensitivity) {
            metrics.push(variant.prune.sensitivity.clone());
        }
    }
    let dense = 1 + usize::from(experiment.standard_baseline);
    // Each is cut, fine-tuned if there are epochs for it, and attacked.
    let of_each = if experiment.finetune.epochs > 0 { 3 } else { 2 };
    Ok(2 * dense + metrics.len() + of_each * variants.len())
}
