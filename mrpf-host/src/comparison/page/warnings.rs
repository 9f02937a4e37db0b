//! What is missing, and what casts doubt on figures.

use maud::html;
use std::path::Path;

use super::Section;
use super::paths::without_folders;
use crate::comparison::findings::Findings;
use crate::results::Row;

/// The section: signs of false robustness, budgets that were not met, and what could not be computed. None if there is nothing of that.
pub fn section(findings: &Findings, store_root: &Path) -> Option<Section> {
    let rows =
        || findings.dense.iter().map(|dense| &dense.row).chain(findings.pruned.iter().map(|finding| &finding.row));
    let signs: Vec<_> = rows().flat_map(|row| row.signs.iter().map(move |sign| (row, sign))).collect();
    let shortfalls: Vec<(&Row, &String)> = rows().filter_map(|row| Some((row, row.shortfall.as_ref()?))).collect();
    let left_out: Vec<_> = rows().flat_map(|row| row.left_out.iter().map(move |what| (row, what))).collect();
    if left_out.is_empty() && signs.is_empty() && shortfalls.is_empty() && findings.failures.is_empty() {
        return None;
    }
    let body = html! {
        @if !findings.failures.is_empty() {
            h3 { "Could not be computed" }
            ul.warnings {
                @for failure in &findings.failures {
                    li {
                        strong { (failure.stage) }
                        p { (without_folders(&failure.reason, store_root)) }
                        @if !failure.places.is_empty() {
                            p.soft { "Missing because of it: " (list(failure.places.iter().map(ToString::to_string))) "." }
                        }
                    }
                }
            }
        }
        @if !signs.is_empty() {
            h3 { "Signs of false robustness" }
            ul.warnings {
                @for (row, sign) in &signs {
                    li { strong { (row.name) } ": " code { (sign.name) } p { (sign.message) "." } }
                }
            }
            p.soft { "SIGNS.md in mrpf's sources says what each means and what to do." }
        }
        @if !shortfalls.is_empty() {
            h3 { "Budgets that were not met" }
            ul.warnings { @for (row, why) in &shortfalls { li { strong { (row.name) } p { (why) "." } } } }
        }
        @if !left_out.is_empty() {
            h3 { "Not measured" }
            ul.warnings {
                @for (row, left_out) in &left_out { li { strong { (row.name) } p { (left_out.sentence()) "." } } }
            }
        }
    };
    Some(Section { id: "warnings", title: "Warnings and failures", body })
}

/// The first few, and how many more there are.
fn list(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = names.collect();
    match names.len() {
        0..=SHOWN => names.join("; "),
        all => format!("{}; and {} more", names[..SHOWN].join("; "), all - SHOWN),
    }
}
