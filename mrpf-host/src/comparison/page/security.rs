//! Security curves: accuracy against the radius of the attack.

use maud::html;
use mrpf_api::Result;
use mrpf_api::fraction::Fraction;

use super::Section;
use super::plot::{LineChart, Look, Numbers, Point, Series, figure, legend};
use super::summary::{Summary, grouped, look, settings_text};
use crate::comparison::findings::Findings;
use crate::evaluation::Evaluation;
use crate::output::percent;
use crate::results::Row;

/// The setting that the grid may vary.
const RADIUS: &str = "evaluate.threat.epsilon";
/// Points of a curve that follows from distances.
const POINTS: usize = 21;

/// A curve: radii with the share of images that survives each.
type Curve = Vec<(f64, f64)>;

/// The section; none if no evaluation knows more than one radius.
///
/// Curves are those of a grid that varies the radius, those that `evaluate.curves` asked for, and those that follow from the distances of
/// attacks that seek the nearest image.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if a plot cannot be drawn.
pub fn section(findings: &Findings, summaries: &[Summary<'_>]) -> Result<Option<Section>> {
    let mut figures = Vec::new();
    for (settings, chart) in varied(findings, summaries) {
        let title = titled("networks attacked with each radius", &settings);
        figures.push(figure(&title, &alt(&title, &chart), &chart)?);
    }
    for (settings, members) in grouped(summaries, |summary| settings_text(summary.settings)) {
        for source in sources(findings) {
            let curve = |evaluation: &Evaluation, row: &Row| source.curve(evaluation, radius(&row.epsilon)?);
            let mut series = Vec::new();
            for summary in &members {
                let curves: Vec<Curve> =
                    summary.findings.iter().filter_map(|finding| curve(&finding.evaluation, &finding.row)).collect();
                if let Some(points) = mean(&curves) {
                    series.push(Series {
                        name: summary.method().into(),
                        look: look(findings, summary.method()),
                        points,
                    });
                }
            }
            let dense = members.first().and_then(|summary| findings.dense_of(summary.findings.first()?));
            if let Some(points) = dense.and_then(|dense| mean(&[curve(&dense.evaluation, &dense.row)?])) {
                series.push(Series { name: "dense".into(), look: Look::dense(), points });
            }
            if series.is_empty() {
                continue;
            }
            let (title, chart) = (titled(&source.title(), &settings), chart(series));
            figures.push(figure(&title, &alt(&title, &chart), &chart)?);
        }
    }
    if figures.is_empty() {
        return Ok(None);
    }
    let names = findings.methods.iter().map(|method| (method.as_str(), look(findings, method)));
    let body = html! {
        p {
            "The share of images that survives attacks of each radius, as means over seeds. A plausible curve falls steadily and reaches \
             zero; one that does not is a sign of misleading gradients."
        }
        (legend(names.chain([("dense", Look::dense())]))?)
        div.plots { @for figure in figures { (figure) } }
    };
    Ok(Some(Section { id: "security", title: "Security curves", body }))
}

fn titled(source: &str, settings: &str) -> String {
    if settings.is_empty() { source.into() } else { format!("{source}: {settings}") }
}

fn chart(series: Vec<Series>) -> LineChart {
    LineChart { x_name: "radius", x_numbers: Numbers::Plain, y_name: "accuracy", y_numbers: Numbers::Shares, series }
}

/// A radius as it was written, `8/255` or `0.1`.
fn radius(text: &str) -> Option<f64> {
    text.parse::<Fraction>().ok().map(|radius| radius.value())
}

/// Where the grid varies the radius: a chart for each combination of the other settings.
fn varied(findings: &Findings, summaries: &[Summary<'_>]) -> Vec<(String, LineChart)> {
    let at = |summary: &Summary<'_>| summary.settings.get(RADIUS).and_then(|text| radius(text));
    let others = |summary: &Summary<'_>| settings_text(summary.settings.iter().filter(|(path, _)| *path != RADIUS));
    let known = summaries.iter().filter(|summary| at(summary).is_some());
    let drawn = grouped(known, others).into_iter().map(|(settings, members)| {
        let mut series: Vec<Series> = Vec::new();
        let mut add = |name: &str, look: Look, point: Point| match series.iter_mut().find(|known| known.name == name) {
            Some(known) => known.points.push(point),
            None => series.push(Series { name: name.into(), look, points: vec![point] }),
        };
        for summary in members {
            let (Some(x), (y, interval)) = (at(summary), summary.robust()) else { continue };
            let look = look(findings, summary.method());
            add(summary.method(), look, Point { x, y, interval: Some(interval) });
        }
        series.iter_mut().for_each(|series| series.points.sort_by(|one, other| one.x.total_cmp(&other.x)));
        (settings, chart(series))
    });
    drawn.collect()
}

/// Where a curve comes from.
enum Source {
    /// PGD with each of several radii.
    Radii,
    /// The distances that the attack at this place found.
    Distances(usize, String),
}

fn sources(findings: &Findings) -> Vec<Source> {
    let attacks = findings.dense.first().map_or(&[][..], |dense| &dense.evaluation.attacks);
    let nearest = attacks.iter().enumerate().filter(|(_, attack)| attack.nearest);
    let distances = nearest.map(|(at, attack)| Source::Distances(at, attack.name.clone()));
    std::iter::once(Source::Radii).chain(distances).collect()
}

impl Source {
    fn title(&self) -> String {
        match self {
            Self::Radii => "PGD with several radii".into(),
            Self::Distances(_, attack) => format!("distances found by {attack}"),
        }
    }

    fn curve(&self, evaluation: &Evaluation, epsilon: f64) -> Option<Curve> {
        let share = |survivors: usize, images: usize| survivors as f64 / images.max(1) as f64;
        match self {
            Self::Radii => {
                let curves = evaluation.curves.as_ref()?;
                let point =
                    |point: &crate::evaluation::EpsilonPoint| (point.epsilon, share(point.survivors, curves.images));
                Some(curves.epsilons.iter().map(point).collect())
            }
            Self::Distances(at, name) => {
                evaluation.attacks.get(*at).filter(|attack| attack.nearest && attack.name == *name)?;
                let counts = evaluation.security_curve(*at, epsilon, POINTS);
                Some(counts.into_iter().map(|(radius, count)| (radius, share(count, evaluation.images))).collect())
            }
        }
    }
}

/// The mean of curves over the same radii; none if there is none or their radii differ.
fn mean(curves: &[Curve]) -> Option<Vec<Point>> {
    let first = curves.first()?;
    let radii = |curve: &Curve| curve.iter().map(|point| point.0).collect::<Vec<_>>();
    if curves.iter().any(|curve| radii(curve) != radii(first)) {
        return None;
    }
    let points = first.iter().enumerate().map(|(at, &(x, _))| {
        let shares = curves.iter().map(|curve| curve[at].1);
        Point { x, y: shares.sum::<f64>() / curves.len() as f64, interval: None }
    });
    Some(points.collect())
}

/// What is seen: where each line starts and ends.
fn alt(title: &str, chart: &LineChart) -> String {
    let told = chart.series.iter().filter_map(|series| {
        let (first, last) = (series.points.first()?, series.points.last()?);
        let at = |point: &Point| format!("{} at radius {}", percent(point.y), chart.x_numbers.written(point.x));
        Some(format!("{}: from {} to {}", series.name, at(first), at(last)))
    });
    format!("Accuracy against radius, {title}. {}.", told.collect::<Vec<_>>().join("; "))
}
