//! Training curves: loss, and accuracy on held-out images, epoch by epoch.

use maud::{Markup, html};
use mrpf_api::Result;

use super::Section;
use super::plot::{LineChart, Look, Numbers, Point, Series, figure, legend};
use super::summary::{Summary, grouped, settings_text};
use crate::comparison::findings::Findings;
use crate::output::percent;
use crate::pipeline::TrainedRecord;
use crate::training::EpochRecord;

/// What is drawn of each epoch, as a share, with its place among the looks.
type Figure = (&'static str, fn(&EpochRecord) -> Option<f64>);
const SHARES: [Figure; 3] = [
    ("training images, while training", |epoch| Some(epoch.train_accuracy)),
    ("held-out images, clean", |epoch| epoch.holdout_clean),
    ("held-out images, under attack", |epoch| epoch.holdout_robust),
];
/// The loss has a look of its own.
const LOSS: usize = SHARES.len();

/// The section: the dense networks, and each method's fine-tuning as a mean over seeds; none if nothing was trained.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if a plot cannot be drawn.
pub fn section(findings: &Findings, summaries: &[Summary<'_>]) -> Result<Option<Section>> {
    let mut dense = Vec::new();
    for network in &findings.dense {
        let title = match settings_text(&network.settings).as_str() {
            "" => format!("dense, {}", network.training.trainer),
            settings => format!("dense, {}, {settings}", network.training.trainer),
        };
        dense.extend(figures(&title, &[&network.training])?);
    }
    let mut fine_tuned = Vec::new();
    for (settings, members) in grouped(summaries, |summary| settings_text(summary.settings)) {
        let mut plots = Vec::new();
        for summary in members {
            let records: Vec<&TrainedRecord> = summary.findings.iter().map(|finding| &finding.training).collect();
            let trainer = records.first().map_or("", |record| &record.trainer);
            plots.extend(figures(&format!("{}, {trainer}", summary.method()), &records)?);
        }
        fine_tuned.push((settings, plots));
    }
    if dense.is_empty() && fine_tuned.iter().all(|(_, plots)| plots.is_empty()) {
        return Ok(None);
    }
    let names = SHARES.iter().enumerate().map(|(at, (name, _))| (*name, Look::of(at)));
    let body = html! {
        p {
            "Each epoch of training the dense networks and of the last fine-tuning of each method, as means over seeds. Robust accuracy that \
             falls on held-out images while the loss still falls is robust overfitting."
        }
        (legend(names.chain([("training loss", Look::of(LOSS))]))?)
        div.plots { @for figure in dense { (figure) } }
        @for (settings, plots) in fine_tuned {
            details {
                summary { "Fine-tuning" @if !settings.is_empty() { ", " (settings) } }
                div.plots { @for figure in plots { (figure) } }
            }
        }
    };
    Ok(Some(Section { id: "training", title: "Training", body }))
}

/// A plot of shares and one of the loss; none without an epoch.
fn figures(title: &str, records: &[&TrainedRecord]) -> Result<Vec<Markup>> {
    let series = |name: &'static str, look: usize, figure: &dyn Fn(&EpochRecord) -> Option<f64>| Series {
        name: name.into(),
        look: Look::of(look),
        points: mean(records, figure),
    };
    let shares = SHARES.iter().enumerate().map(|(at, (name, figure))| series(name, at, figure));
    let shares: Vec<Series> = shares.filter(|series| !series.points.is_empty()).collect();
    let loss = series("training loss", LOSS, &|epoch| Some(epoch.loss));
    if loss.points.is_empty() {
        return Ok(Vec::new());
    }
    let chart =
        |y_name, y_numbers, series| LineChart { x_name: "epoch", x_numbers: Numbers::Plain, y_name, y_numbers, series };
    let charts = [chart("accuracy", Numbers::Shares, shares), chart("loss", Numbers::Plain, vec![loss])];
    let drawn = charts.iter().map(|chart| {
        let title = format!("{title}: {}", chart.y_name);
        figure(&title, &alt(&title, chart), chart)
    });
    drawn.collect()
}

/// The mean over the seeds that have the epoch and the figure.
fn mean(records: &[&TrainedRecord], figure: &dyn Fn(&EpochRecord) -> Option<f64>) -> Vec<Point> {
    let epochs = records.iter().map(|record| record.history.len()).max().unwrap_or(0);
    let point = |at: usize| {
        let of_epoch = records.iter().filter_map(|record| record.history.get(at));
        let values: Vec<f64> = of_epoch.filter_map(figure).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (!values.is_empty()).then_some(Point { x: (at + 1) as f64, y: mean, interval: None })
    };
    (0..epochs).filter_map(point).collect()
}

/// What is seen: where each line starts and ends.
fn alt(title: &str, chart: &LineChart) -> String {
    let write = |value: f64| match chart.y_numbers {
        Numbers::Shares => percent(value),
        numbers => numbers.written(value),
    };
    let told = chart.series.iter().filter_map(|series| {
        let (first, last) = (series.points.first()?, series.points.last()?);
        Some(format!("{}: from {} to {} in epoch {}", series.name, write(first.y), write(last.y), last.x))
    });
    format!("{title}, epoch by epoch. {}.", told.collect::<Vec<_>>().join("; "))
}
