//! The comparison table for the terminal.

use comfy_table::presets::{NOTHING, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};

use super::super::findings::Findings;
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
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let mut headings = vec!["method"];
    // The last word of a path stands for it, as in the names of rows.
    headings.extend(findings.axes.iter().map(|axis| axis.setting.rsplit('.').next().unwrap_or(&axis.setting)));
    let words = headings.len();
    headings.extend(["seeds", "MACs %", "clean %", "robust %", "drop", "class"]);
    table.set_header(headings);
    for line in lines(findings, statistics) {
        let mut row = vec![line.method];
        row.extend(findings.axes.iter().map(|axis| line.settings.get(&axis.setting).cloned().unwrap_or("-".into())));
        row.push(line.seeds);
        match line.figures {
            None => row.extend(["failed", "-", "-", "-", "-"].map(str::to_owned)),
            Some(found) => {
                row.extend([
                    format!("{:.1}", 100.0 * found.macs_kept.mean),
                    narrow(&found.clean),
                    narrow(&found.robust),
                ]);
                row.push(found.robust_drop.as_ref().map_or("-".into(), narrow));
                row.push(if found.classes.is_empty() { "-".into() } else { class_text(&found.classes) });
            }
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
        // Words give way before figures do, as long as there is room for both.
        if words <= 3 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let below = statistics.settings.iter().map(shown).chain(failed(findings));
    let below: Vec<String> = below.map(|line| wrapped(&line)).collect();
    format!("{table}\n{}", below.join("\n"))
}

/// `85.0±1.2`.
fn narrow(mean: &Mean) -> String {
    points(mean).replace(" ± ", "±")
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
