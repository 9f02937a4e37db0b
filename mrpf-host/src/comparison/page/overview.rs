//! The comparison table: one row for each method at each setting.

use maud::{Markup, html};

use super::Section;
use super::summary::{Spread, Summary};
use crate::comparison::findings::{DenseFinding, Findings};
use crate::output::{count, percent};

/// The section.
pub fn section(findings: &Findings, summaries: &[Summary<'_>]) -> Section {
    let body = html! {
        p {
            "Each row is a method at one setting, with the mean over its seeds. In small print: the lowest and the highest seed, or for \
             a single seed the 95 % Wilson interval over test images."
        }
        div.scroll tabindex="0" role="region" aria-labelledby="comparison-caption" {
            p.hidden role="status" {}
            table data-sortable {
                caption id="comparison-caption" { "Methods and settings, means over seeds" }
                thead { tr {
                    th.text scope="col" { "method" }
                    @for axis in &findings.axes { th scope="col" { (axis.setting) } }
                    th scope="col" { "seeds" }
                    th scope="col" { "MACs" }
                    th scope="col" { "parameters" }
                    th scope="col" { "clean" }
                    th scope="col" { "robust" }
                    th scope="col" { "robust as cut" }
                } }
                tbody {
                    @for dense in &findings.dense { (dense_row(findings, dense)) }
                    @for summary in summaries { (row(findings, summary)) }
                }
            }
        }
    };
    Section { id: "comparison", title: "Comparison", body }
}

fn row(findings: &Findings, summary: &Summary<'_>) -> Markup {
    let params = summary.mean(|finding| finding.row.params as f64);
    let gone = |share: f64| format!("{} gone", percent(share));
    let as_cut: Option<Vec<f64>> = summary.findings.iter().map(|finding| finding.row.robust_accuracy_pruned).collect();
    let as_cut = as_cut.map(|shares| shares.iter().sum::<f64>() / shares.len().max(1) as f64);
    let share_of_dense = |figure: f64, dense: fn(&DenseFinding) -> f64| {
        let dense = summary.findings.first().and_then(|finding| findings.dense.get(finding.dense)).map(dense);
        dense.filter(|&dense| dense > 0.0).map(|dense| 1.0 - figure / dense)
    };
    html! {
        tr {
            th scope="row" { (summary.method) }
            @for axis in &findings.axes {
                td { (summary.settings.get(&axis.setting).map_or("-", String::as_str)) }
            }
            td { (summary.findings.len()) }
            (figure(summary.macs(), share_of_dense(summary.macs(), |dense| dense.row.macs as f64).map(gone)))
            (figure(params, share_of_dense(params, |dense| dense.row.params as f64).map(gone)))
            (share(&summary.clean()))
            (share(&summary.robust()))
            @match as_cut {
                Some(share) => td data-value=(share) { (percent(share)) },
                None => td { "-" },
            }
        }
    }
}

fn dense_row(findings: &Findings, dense: &DenseFinding) -> Markup {
    let row = &dense.row;
    html! {
        tr.dense {
            th scope="row" { "dense" }
            @for axis in &findings.axes {
                td { (dense.settings.get(&axis.setting).map_or("-", String::as_str)) }
            }
            td { "-" }
            (figure(row.macs as f64, None))
            (figure(row.params as f64, None))
            (share(&Spread { mean: row.clean_accuracy, ends: row.clean_interval }))
            (share(&Spread { mean: row.robust_accuracy, ends: row.robust_interval }))
            td { "-" }
        }
    }
}

fn figure(value: f64, beside: Option<String>) -> Markup {
    html! { td data-value=(value) { (count(value.round() as u64)) @if let Some(text) = beside { small { (text) } } } }
}

/// A share with its ends in small print.
pub fn share(spread: &Spread) -> Markup {
    let [low, high] = spread.ends.map(|end| 100.0 * end);
    html! { td data-value=(spread.mean) { (percent(spread.mean)) small { (format!("{low:.1} to {high:.1}")) } } }
}
