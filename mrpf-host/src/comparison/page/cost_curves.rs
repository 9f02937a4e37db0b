//! Robust accuracy against cost: what each method makes of the multiply-accumulates that are left.

use maud::html;
use mrpf_api::Result;

use super::Section;
use super::plot::{LineChart, Look, Numbers, Point, Series, figure, legend};
use super::summary::{Summary, grouped, look, settings_text};
use crate::comparison::findings::Findings;
use crate::output::{count, percent};

/// The setting that moves a network along the curve; every other one that is varied has plots of its own.
const ALONG: &str = "prune.ratio";

/// The section; none without a pruned network.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if a plot cannot be drawn.
pub fn section(findings: &Findings, summaries: &[Summary<'_>]) -> Result<Option<Section>> {
    if summaries.is_empty() {
        return Ok(None);
    }
    let others = |summary: &Summary<'_>| settings_text(summary.settings.iter().filter(|(path, _)| *path != ALONG));
    let mut figures = Vec::new();
    for (settings, members) in grouped(summaries, others) {
        let chart = chart(findings, &members);
        let title = match settings.as_str() {
            "" => "Robust accuracy against multiply-accumulates".to_owned(),
            settings => format!("Robust accuracy against multiply-accumulates: {settings}"),
        };
        figures.push(figure(&title, &alt(&title, &chart), &chart)?);
    }
    let names = findings.methods.iter().map(|method| (method.as_str(), look(findings, method)));
    let body = html! {
        p {
            "Higher is more robust, further left is cheaper. Points are means over seeds with Student's 95 % interval; where there is one seed, \
             and for dense networks, Wilson's over test images. Methods whose intervals overlap are not shown to differ by this plot alone."
        }
        (legend(names.chain([("dense", Look::dense())]))?)
        div.plots.wide { @for figure in figures { (figure) } }
    };
    Ok(Some(Section { id: "cost", title: "Robust accuracy and cost", body }))
}

fn chart(findings: &Findings, members: &[&Summary<'_>]) -> LineChart {
    let mut series = Vec::new();
    for method in &findings.methods {
        let mut points: Vec<Point> = members
            .iter()
            .filter(|summary| summary.method() == method)
            .map(|summary| {
                let (robust, interval) = summary.robust();
                Point { x: summary.figures.macs.mean, y: robust, interval: Some(interval) }
            })
            .collect();
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        if !points.is_empty() {
            series.push(Series { name: method.clone(), look: look(findings, method), points });
        }
    }
    let mut dense: Vec<usize> =
        members.iter().flat_map(|summary| summary.findings.iter().filter_map(|finding| finding.dense)).collect();
    dense.sort_unstable();
    dense.dedup();
    // Dense networks of several seeds are points of their own, which no line joins.
    for dense in dense.into_iter().filter_map(|at| findings.dense.get(at)) {
        let row = &dense.row;
        let point = Point { x: row.macs as f64, y: row.robust_accuracy, interval: Some(row.robust_interval) };
        series.push(Series { name: "dense".into(), look: Look::dense(), points: vec![point] });
    }
    LineChart {
        x_name: "multiply-accumulates of one image",
        x_numbers: Numbers::Counts,
        y_name: "robust accuracy",
        y_numbers: Numbers::Shares,
        series,
    }
}

/// What is seen: where each line starts and ends.
fn alt(title: &str, chart: &LineChart) -> String {
    let told = chart.series.iter().filter_map(|series| {
        let (first, last) = (series.points.first()?, series.points.last()?);
        let at = |point: &Point| format!("{} at {}", percent(point.y), count(point.x as u64));
        Some(match series.points.len() {
            1 => format!("{}: {}", series.name, at(first)),
            _ => format!("{}: from {} to {}", series.name, at(first), at(last)),
        })
    });
    let told: Vec<String> = told.collect();
    format!("{title}. {}.", told.join("; "))
}
