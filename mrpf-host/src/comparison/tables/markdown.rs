//! A report as Markdown.

use comfy_table::CellAlignment;
use comfy_table::presets::ASCII_MARKDOWN;
use std::fmt::Write;

use super::document::{Block, Document, Table, one_line};

/// The report as it stands in `report.md`.
pub(super) fn markdown(document: &Document) -> String {
    let mut text = format!("# {}\n", one_line(&document.title));
    for block in &document.blocks {
        text.push('\n');
        let _ = match block {
            Block::Heading(heading) => writeln!(text, "## {heading}"),
            Block::Text(paragraph) => writeln!(text, "{}", one_line(paragraph)),
            Block::List(points) => points.iter().try_for_each(|point| writeln!(text, "- {}", one_line(point))),
            Block::Table(table) => write!(text, "{}", of_table(table)),
            Block::Verbatim(code) => writeln!(text, "```toml\n{}\n```", code.trim_end()),
        };
    }
    text
}

fn of_table(table: &Table) -> String {
    let in_cell = |cell: &String| one_line(cell).replace('|', "\\|");
    let mut shown = comfy_table::Table::new();
    shown.load_style(ASCII_MARKDOWN);
    shown.set_header(table.columns.iter().map(|column| in_cell(&column.name)));
    table.rows.iter().for_each(|row| {
        shown.add_row(row.iter().map(in_cell));
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
        let _ = writeln!(text, "- {}", one_line(note));
    });
    text
}
