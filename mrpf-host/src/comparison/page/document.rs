//! The frame of the page: head, styles, script, introduction and table of contents.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::Section;
use super::plot::theme_css;
use crate::comparison::findings::Findings;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// The whole page.
pub fn document(findings: &Findings, sections: &[Section]) -> Markup {
    let name = &findings.experiment.name;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "mrpf " (env!("CARGO_PKG_VERSION")) };
                title { (name) " - comparison" }
                style { (PreEscaped(theme_css())) (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the results" }
                header {
                    h1 { (name) }
                    (introduction(findings))
                    nav aria-label="Sections" {
                        ul { @for section in sections { li { a href={ "#" (section.id) } { (section.title) } } } }
                    }
                }
                main id="content" {
                    @for section in sections {
                        section id=(section.id) aria-labelledby={ (section.id) "-title" } {
                            h2 id={ (section.id) "-title" } { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer { p { "Made by mrpf " (env!("CARGO_PKG_VERSION")) "." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Nothing is loaded, and no script runs but the one whose hash this is.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    )
}

fn introduction(findings: &Findings) -> Markup {
    let experiment = &findings.experiment;
    let seeds = match experiment.grid.seeds.as_slice() {
        [] => vec![experiment.seed.to_string()],
        seeds => seeds.iter().map(u64::to_string).collect(),
    };
    let evaluate = &experiment.evaluate;
    let attacks: Vec<&str> = evaluate.attacks.iter().map(|attack| attack.name.as_str()).collect();
    let images = findings.dense.first().map_or(0, |dense| dense.row.images);
    html! {
        p {
            "Pruned " strong { (experiment.network.architecture.name) } " networks on " strong { (experiment.data.name.name) } ": "
            (findings.methods.len()) " ways of pruning, " (findings.pruned.len()) " pruned networks. "
            "Robust accuracy is the share of " (images) " test images that survive " (attacks.join(" and ")) " in the "
            (evaluate.threat.norm.name()) " ball of radius " (evaluate.threat.epsilon.to_string()) "."
        }
        dl.facts {
            div { dt { "methods" } dd { (findings.methods.join(", ")) } }
            @for axis in &findings.axes { div { dt { (axis.setting) } dd { (axis.values.join(", ")) } } }
            div { dt { "seeds" } dd { (seeds.join(", ")) } }
        }
    }
}
