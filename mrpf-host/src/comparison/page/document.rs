//! The frame of the page: head, styles, script, introduction and table of contents.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::Section;
use super::plot::theme_css;
use crate::comparison::findings::Findings;
use crate::comparison::tables::report::introduction as told;

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

/// What was compared, as a sentence and as a list.
fn introduction(findings: &Findings) -> Markup {
    let experiment = &findings.experiment;
    let seeds = match experiment.grid.seeds.as_slice() {
        [] => vec![experiment.seed.to_string()],
        seeds => seeds.iter().map(u64::to_string).collect(),
    };
    html! {
        p { (told(findings)) }
        dl.facts {
            div { dt { "methods" } dd { (findings.methods.join(", ")) } }
            @for axis in &findings.axes { div { dt { (axis.setting) } dd { (axis.values.join(", ")) } } }
            div { dt { "seeds" } dd { (seeds.join(", ")) } }
        }
    }
}
