//! A report as Markdown.

use comfy_table::CellAlignment;
use comfy_table::presets::ASCII_MARKDOWN;
use std::fmt::Write;

use super::document::{Block, Document, Table};
use crate::safe_text::{markdown as safe, markdown_code};

/// The report as it stands in `report.md`.
pub(super) fn markdown(document: &Document) -> String {
    let mut text = format!("# {}\n", safe(&document.title));
    for block in &document.blocks {
        text.push('\n');
        let _ = match block {
            Block::Heading(heading) => writeln!(text, "## {}", safe(heading)),
            Block::Text(paragraph) => writeln!(text, "{}", safe(paragraph)),
            Block::List(points) => points.iter().try_for_each(|point| writeln!(text, "- {}", safe(point))),
            Block::Table(table) => write!(text, "{}", of_table(table)),
            Block::Verbatim(code) => writeln!(text, "{}", markdown_code("toml", code)),
        };
    }
    text
}

fn of_table(table: &Table) -> String {
    let mut shown = comfy_table::Table::new();
    shown.load_style(ASCII_MARKDOWN);
    shown.set_header(table.columns.iter().map(|column| safe(&column.name)));
    table.rows.iter().for_each(|row| {
        shown.add_row(row.iter().map(|cell| safe(cell)));
    });
    for (column, cells) in table.columns.iter().zip(shown.column_iter_mut()) {
        if column.figures {
            cells.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{shown}\n");
    if !table.notes.is_empty() {
        text.push('\n');
    }
    table.notes.iter().for_each(|note| {
        let _ = writeln!(text, "- {}", safe(note));
    });
    text
}
