//! The comparison table for the terminal.

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::super::findings::{Findings, Place};
use super::super::statistics::{Mean, Statistics};
use super::comparison::{failed, lines};
use super::figures::points;
use super::flat::class_text;
use super::report::shown;

/// Widest line, in columns of a terminal.
const WIDTH: u16 = 100;

/// The comparison for people at a terminal: the table, what is shown, and what failed; no line is wider than 100 columns.
pub fn comparison_table(findings: &Findings) -> String {
    of_statistics(findings, &Statistics::of(findings))
}

pub(super) fn of_statistics(findings: &Findings, statistics: &Statistics) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let varied = !findings.axes.is_empty();
    let setting = if varied { &["setting"][..] } else { &[] };
    let headings =
        [&["method"][..], setting, &["seeds", "MACs %", "params %", "clean %", "robust %", "drop", "class"][..]];
    table.set_header(headings.concat());
    for line in lines(findings, statistics) {
        let mut row = vec![line.method];
        if varied {
            row.push(Place::settings_text(&line.settings).trim_start_matches(", ").to_owned());
        }
        row.push(line.seeds);
        match line.figures {
            None => row.extend(["failed", "-", "-", "-", "-", "-"].map(str::to_owned)),
            Some(found) => {
                let kept = |kept: Mean| format!("{:.1}", 100.0 * kept.mean);
                row.extend([
                    kept(found.macs_kept),
                    kept(found.params_kept),
                    points(&found.clean),
                    points(&found.robust),
                ]);
                row.push(found.robust_drop.as_ref().map_or("-".into(), points));
                row.push(if found.classes.is_empty() { "-".into() } else { class_text(&found.classes) });
            }
        }
        table.add_row(row);
    }
    let words = if varied { 2 } else { 1 };
    table.column_iter_mut().skip(words).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let below = statistics.settings.iter().map(shown).chain(failed(findings));
    let below: Vec<String> = below.map(|line| wrapped(&line)).collect();
    format!("{table}\n{}", below.join("\n"))
}

/// The line in as many as it needs.
fn wrapped(line: &str) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.add_row([line]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 0));
    });
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
