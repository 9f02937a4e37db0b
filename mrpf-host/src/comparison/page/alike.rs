//! How alike metrics and methods are: rank correlations of sensitivities, and overlaps of kept channels.

use maud::html;

use super::Section;
use super::plain_table::plain_table;
use crate::comparison::findings::Findings;
use crate::comparison::statistics::Statistics;
use crate::comparison::tables::report::{agreement, overlaps};

/// How alike two metrics order what is pruned; none with fewer than two metrics.
pub fn agreement_of_metrics(findings: &Findings, statistics: &Statistics) -> Option<Section> {
    let body = html! {
        p {
            "Rank correlations of what two metrics say of the same channel groups: 1 is the same order, 0 is none, -1 the opposite one."
        }
        (plain_table(&agreement(findings, statistics), "agreement", "Rank correlations of sensitivity metrics"))
    };
    (!statistics.agreement.is_empty()).then_some(Section { id: "agreement", title: "Agreement of metrics", body })
}

/// How much of what one method keeps another keeps too; none with fewer than two methods.
pub fn overlap_of_channels(findings: &Findings, statistics: &Statistics) -> Option<Section> {
    let body = html! {
        p {
            "Jaccard's index of the channels that two methods keep: those that both keep over those that either keeps, as a mean over \
             channel groups and seeds. Beside it, what choosing as many channels at random gives."
        }
        (plain_table(&overlaps(findings, statistics), "overlap", "Overlap of kept channels"))
    };
    let any = statistics.settings.iter().any(|setting| !setting.overlaps.is_empty());
    any.then_some(Section { id: "overlap", title: "Overlap of kept channels", body })
}
