//! Every two methods, compared image by image.

use maud::html;

use super::Section;
use super::plain_table::plain_table;
use crate::comparison::findings::Findings;
use crate::comparison::statistics::{Outcome, Statistics};
use crate::comparison::tables::report::pairs;

/// The section; none if no two methods could be compared.
pub fn section(findings: &Findings, statistics: &Statistics) -> Option<Section> {
    let outcomes: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| statistics.family(*outcome) > 0).collect();
    if outcomes.is_empty() {
        return None;
    }
    let body = html! {
        p {
            "Differences in points of percent with their 95 % interval, on the seeds and images that both methods have; \
             \u{201c}for first\u{201d} and \u{201c}for second\u{201d} count the images that speak for each."
        }
        @for outcome in outcomes {
            @let name = outcome.name();
            @let (id, caption) = (format!("pairs-{name}"), format!("McNemar's test, {name} accuracy"));
            details open[outcome == Outcome::Robust] {
                summary { "Pairs of methods, " (name) " accuracy" }
                (plain_table(&pairs(findings, statistics, outcome), &id, &caption))
            }
        }
    };
    Some(Section { id: "pairs", title: "Pairs of methods", body })
}
