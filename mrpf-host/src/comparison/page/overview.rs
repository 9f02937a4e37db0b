//! The comparison table: one row for each method at each setting, and what it shows.

use maud::{Markup, html};

use super::Section;
use crate::comparison::findings::Findings;
use crate::comparison::statistics::{Mean, MethodStatistics, Statistics};
use crate::comparison::tables::comparison::{Line, lines};
use crate::comparison::tables::flat::class_text;
use crate::comparison::tables::report::{how_to_read, shown};
use crate::output::{count, percent};

/// The section.
pub fn section(findings: &Findings, statistics: &Statistics) -> Section {
    let headings = ["seeds", "MACs", "parameters", "clean", "robust", "clean drop", "robust drop", "class"];
    let body = html! {
        div.scroll tabindex="0" role="region" aria-labelledby="comparison-caption" {
            p.hidden role="status" {}
            table data-sortable {
                caption id="comparison-caption" { "Methods at each setting, means over seeds with half of their 95 % interval" }
                thead { tr {
                    th.text scope="col" { "method" }
                    @for axis in &findings.axes { th scope="col" { (axis.setting) } }
                    @for heading in headings { th scope="col" { (heading) } }
                } }
                tbody { @for line in lines(findings, statistics) { (row(findings, &line)) } }
            }
        }
        @if !statistics.settings.is_empty() {
            h3 { "What is shown" }
            ul { @for setting in &statistics.settings { li { (shown(setting)) } } }
        }
        details {
            summary { "How to read the table" }
            ul { @for point in how_to_read(findings, statistics) { li { (point) } } }
        }
    };
    Section { id: "comparison", title: "Comparison", body }
}

fn row(findings: &Findings, line: &Line) -> Markup {
    html! {
        tr.dense[line.method == "dense"] {
            th scope="row" { (line.method) }
            @for axis in &findings.axes { td { (line.settings.get(&axis.setting).map_or("-", String::as_str)) } }
            td { (line.seeds) }
            @match &line.figures {
                Some(found) => (figures(found)),
                None => { td { "failed" } @for _ in 0..6 { td { "-" } } },
            }
        }
    }
}

fn figures(found: &MethodStatistics) -> Markup {
    let cost = |cost: &Mean, kept: &Mean| {
        html! {
            td data-value=(cost.mean) { (count(cost.mean.round() as u64)) small { (percent(kept.mean)) } }
        }
    };
    html! {
        (cost(&found.macs, &found.macs_kept))
        (cost(&found.params, &found.params_kept))
        (share(Some(&found.clean), " %"))
        (share(Some(&found.robust), " %"))
        (share(found.clean_drop.as_ref(), ""))
        (share(found.robust_drop.as_ref(), ""))
        @match found.classes.first() {
            Some(first) => td data-value=(first) { (class_text(&found.classes)) },
            None => td { "-" },
        }
    }
}

/// A mean in percent, or in points of percent, with half of its interval in small print.
fn share(mean: Option<&Mean>, unit: &str) -> Markup {
    html! {
        @match mean {
            Some(Mean { mean, half, .. }) => td data-value=(mean) {
                (format!("{:.1}{unit}", 100.0 * mean))
                @if let Some(half) = half { small { (format!("± {:.1}", 100.0 * half)) } }
            },
            None => td { "-" },
        }
    }
}
