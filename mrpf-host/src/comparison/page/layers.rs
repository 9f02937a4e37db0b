//! Layer by layer: how sensitive each module is, and how much of each channel group each method keeps.

use maud::html;
use mrpf_api::Result;

use super::Section;
use super::plot::{Bar, BarChart, Look, Numbers, figure};
use super::summary::{Summary, grouped, look, settings_text};
use crate::comparison::findings::{Finding, Findings};

/// The sensitivities of the dense networks, one plot for each metric; none if none were measured.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if a plot cannot be drawn.
pub fn sensitivities(findings: &Findings) -> Result<Option<Section>> {
    let mut figures = Vec::new();
    for dense in &findings.dense {
        for (at, (metric, modules)) in dense.sensitivities.iter().enumerate() {
            let bars =
                modules.iter().map(|module| Bar { name: module.module.clone(), value: module.value, spread: None });
            let chart = BarChart {
                name: "sensitivity",
                numbers: Numbers::Plain,
                end: None,
                look: Look::of(at),
                bars: bars.collect(),
            };
            let title = match settings_text(&dense.settings).as_str() {
                "" => metric.clone(),
                settings => format!("{metric}, {settings}"),
            };
            let alt = alt(&format!("Sensitivity of each layer by {title}"), &chart);
            figures.push(figure(&title, &alt, &chart)?);
        }
    }
    if figures.is_empty() {
        return Ok(None);
    }
    let body = html! {
        p {
            "What each metric says of each layer of the dense network, in forward order: longer bars should be pruned less. \
             Metrics have units of their own, so compare the order of layers and not the lengths across plots."
        }
        div.plots { @for figure in figures { (figure) } }
    };
    Ok(Some(Section { id: "sensitivity", title: "Sensitivity of layers", body }))
}

/// The share of each group's channels that is kept, one plot for each method; none without a pruned network.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if a plot cannot be drawn.
pub fn kept_shares(findings: &Findings, summaries: &[Summary<'_>]) -> Result<Option<Section>> {
    let mut settings = Vec::new();
    for (text, members) in grouped(summaries, |summary| settings_text(summary.settings)) {
        let mut figures = Vec::new();
        for summary in members {
            let chart = BarChart {
                name: "channels kept",
                numbers: Numbers::Shares,
                end: Some(1.0),
                look: look(findings, summary.method()),
                bars: kept_bars(summary),
            };
            if !chart.bars.is_empty() {
                let about = format!("Share of channels kept by {}, {text}", summary.method());
                figures.push(figure(summary.method(), &alt(&about, &chart), &chart)?);
            }
        }
        if !figures.is_empty() {
            settings.push((text, figures));
        }
    }
    if settings.is_empty() {
        return Ok(None);
    }
    let single = settings.len() == 1;
    let body = html! {
        p {
            "The share of channels that each method leaves in each channel group, in forward order; means over seeds, with the lowest and \
             the highest seed as a thin line where seeds differ."
        }
        @for (at, (text, figures)) in settings.into_iter().enumerate() {
            @let plots = html! { div.plots { @for figure in figures { (figure) } } };
            @if single { (plots) } @else { details open[at == 0] { summary { (text) } (plots) } }
        }
    };
    Ok(Some(Section { id: "kept", title: "Channels kept", body }))
}

fn kept_bars(summary: &Summary<'_>) -> Vec<Bar> {
    let groups = summary.findings.first().and_then(|finding| finding.cut.rounds.first()).map(|round| &round.groups);
    let free = groups.into_iter().flatten().filter(|entry| entry.group.frozen.is_none());
    let bar = |entry: &crate::pruning::GroupRecord| {
        let channels = entry.group.channels.max(1) as f64;
        let share = |finding: &Finding| {
            finding.cut.plan.keep.get(&entry.group.name).map_or(1.0, |kept| kept.len() as f64 / channels)
        };
        let shares: Vec<f64> = summary.findings.iter().map(|finding| share(finding)).collect();
        let ends = shares
            .iter()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &share| [low.min(share), high.max(share)]);
        Bar { name: entry.group.name.clone(), value: summary.mean(share), spread: (ends[0] < ends[1]).then_some(ends) }
    };
    free.map(bar).collect()
}

/// What is seen: the longest and the shortest bar.
fn alt(about: &str, chart: &BarChart) -> String {
    let by_value = |one: &&Bar, other: &&Bar| one.value.total_cmp(&other.value);
    let (Some(most), Some(least)) = (chart.bars.iter().max_by(by_value), chart.bars.iter().min_by(by_value)) else {
        return format!("{about}.");
    };
    let told = |bar: &Bar| format!("{} ({})", bar.name, chart.numbers.written(bar.value));
    format!("{about}: {} bars, the longest {}, the shortest {}.", chart.bars.len(), told(most), told(least))
}
