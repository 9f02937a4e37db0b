//! The comparison as a table, for the terminal and for Markdown.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, Table};

use super::row::{Results, Row};
use crate::output::{count, percent};
use crate::safe_text::{markdown, one_line};

const HEADINGS: [&str; 9] =
    ["network", "asked", "gone", "MACs", "parameters", "clean", "robust", "robust as cut", "latency"];

/// The comparison with box lines, for the terminal.
pub fn comparison_table(results: &Results) -> String {
    let mut table = filled(results, |name| one_line(name).into_owned());
    table.load_style(UTF8_FULL_CONDENSED);
    table.to_string()
}

/// The comparison as a Markdown table.
pub(super) fn markdown_table(results: &Results) -> String {
    let mut table = filled(results, markdown);
    table.load_style(ASCII_MARKDOWN);
    table.to_string()
}

fn filled(results: &Results, named: impl Fn(&str) -> String) -> Table {
    let mut table = Table::new();
    table.set_header(HEADINGS);
    results.rows.iter().for_each(|row| {
        let [_, figures @ ..] = cells(row);
        table.add_row(std::iter::once(named(&row.name)).chain(figures));
    });
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn cells(row: &Row) -> [String; 9] {
    let with_interval =
        |share: f64, [low, high]: [f64; 2]| format!("{} ({:.1} to {:.1})", percent(share), 100.0 * low, 100.0 * high);
    let dense = row.criterion.is_none();
    let ratio = |ratio: f64| if dense { "-".into() } else { percent(ratio) };
    [
        row.name.clone(),
        ratio(row.ratio_asked),
        ratio(row.ratio_achieved),
        count(row.macs),
        count(row.params),
        with_interval(row.clean_accuracy, row.clean_interval),
        with_interval(row.robust_accuracy, row.robust_interval),
        row.robust_accuracy_pruned.map_or("-".into(), percent),
        row.latency.map_or("-".into(), |latency| format!("{:.2} ms", latency.median_ms)),
    ]
}
