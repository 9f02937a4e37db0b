//! Every single network, attack by attack.

use maud::{Markup, html};

use super::Section;
use super::summary::settings_text;
use crate::comparison::findings::Findings;
use crate::output::{count, percent};
use crate::results::Row;

/// The section.
pub fn section(findings: &Findings) -> Section {
    let attacks = attacks(findings);
    let dense = findings.dense.iter().map(|dense| {
        let name = match settings_text(&dense.settings).as_str() {
            "" => format!("dense, seed {}", dense.row.seed),
            settings => format!("dense, {settings}, seed {}", dense.row.seed),
        };
        (name, &dense.row, true)
    });
    let pruned = findings.pruned.iter().map(|finding| (finding.place.to_string(), &finding.row, false));
    let rows: Vec<(String, &Row, bool)> = dense.chain(pruned).collect();
    let body = html! {
        p {
            "Each network with its own figures. Intervals in small print are 95 % Wilson intervals over test images; an attack's column is \
             what survives that attack by itself."
        }
        details {
            summary { "All " (rows.len()) " networks" }
            div.scroll tabindex="0" role="region" aria-labelledby="networks-caption" {
                p.hidden role="status" {}
                table data-sortable {
                    caption id="networks-caption" { "Every network" }
                    thead { tr {
                        th.text scope="col" { "network" }
                        th.text scope="col" { "trainer" }
                        th scope="col" { "asked" }
                        th scope="col" { "gone" }
                        th scope="col" { "MACs" }
                        th scope="col" { "parameters" }
                        th scope="col" { "clean" }
                        @for attack in &attacks { th scope="col" { (attack) } }
                        th scope="col" { "all attacks" }
                    } }
                    tbody { @for (name, row, dense) in &rows { (network(name, row, *dense, &attacks)) } }
                }
            }
        }
    };
    Section { id: "networks", title: "Networks", body }
}

fn network(name: &str, row: &Row, dense: bool, attacks: &[&str]) -> Markup {
    let ratio = |ratio: f64| html! { td data-value=(ratio) { @if dense { "-" } @else { (percent(ratio)) } } };
    html! {
        tr.dense[dense] {
            th scope="row" { (name) }
            td.text { (row.trainer) }
            (ratio(row.ratio_asked))
            (ratio(row.ratio_achieved))
            td data-value=(row.macs) { (count(row.macs)) }
            td data-value=(row.params) { (count(row.params)) }
            (share(row.clean_accuracy, row.clean_interval))
            @for attack in attacks {
                @match row.attacks.get(*attack) {
                    Some(found) => (share(found.robust_accuracy, found.interval)),
                    None => td { "-" },
                }
            }
            (share(row.robust_accuracy, row.robust_interval))
        }
    }
}

/// A share with its interval in small print.
fn share(share: f64, interval: [f64; 2]) -> Markup {
    let [low, high] = interval.map(|end| 100.0 * end);
    html! { td data-value=(share) { (percent(share)) small { (format!("{low:.1} to {high:.1}")) } } }
}

/// The attacks of all evaluations, in their order.
fn attacks(findings: &Findings) -> Vec<&str> {
    let evaluations = findings.dense.iter().map(|dense| &dense.evaluation);
    let mut names: Vec<&str> = Vec::new();
    for evaluation in evaluations.chain(findings.pruned.iter().map(|finding| &finding.evaluation)) {
        for attack in &evaluation.attacks {
            if !names.contains(&attack.name.as_str()) {
                names.push(&attack.name);
            }
        }
    }
    names
}
