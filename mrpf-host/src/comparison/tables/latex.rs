//! A report as a LaTeX document that needs no packages beyond the usual ones.

use std::fmt::Write;

use super::document::{Block, Document, Table};
use crate::safe_text::{latex as escaped, latex_code};

const PREAMBLE: &str = "\
\\documentclass{article}
\\usepackage[utf8]{inputenc}
\\usepackage[T1]{fontenc}
\\usepackage[a4paper,landscape,margin=15mm]{geometry}
\\usepackage{booktabs,longtable,textcomp}
\\begin{document}
";

/// The report as it stands in `report.tex`.
pub(super) fn latex(document: &Document) -> String {
    let mut text = format!("{PREAMBLE}\\section*{{{}}}\n", escaped(&document.title));
    for block in &document.blocks {
        text.push('\n');
        let _ = match block {
            Block::Heading(heading) => writeln!(text, "\\subsection*{{{}}}", escaped(heading)),
            Block::Text(paragraph) => writeln!(text, "{}", escaped(paragraph)),
            Block::List(points) => writeln!(text, "{}", list(points)),
            Block::Table(table) => writeln!(text, "{}", of_table(table)),
            Block::Verbatim(code) => writeln!(text, "{}", latex_code(code)),
        };
    }
    text.push_str("\n\\end{document}\n");
    text
}

fn list(points: &[String]) -> String {
    // An environment without a point is an error.
    if points.is_empty() {
        return String::new();
    }
    let points: String = points.iter().map(|point| format!("  \\item {}\n", escaped(point))).collect();
    format!("\\begin{{itemize}}\n{points}\\end{{itemize}}")
}

fn of_table(table: &Table) -> String {
    let alignment: String = table.columns.iter().map(|column| if column.figures { 'r' } else { 'l' }).collect();
    let row = |cells: &mut dyn Iterator<Item = &str>| {
        format!("{} \\\\\n", cells.map(escaped).collect::<Vec<_>>().join(" & "))
    };
    let header = row(&mut table.columns.iter().map(|column| column.name.as_str()));
    let rows: String = table.rows.iter().map(|cells| row(&mut cells.iter().map(String::as_str))).collect();
    let text = format!(
        "{{\\small\n\\begin{{longtable}}{{{alignment}}}\n\\toprule\n{header}\\midrule\n\\endhead\n{rows}\\bottomrule\n\\end{{longtable}}}}"
    );
    match table.notes.is_empty() {
        true => text,
        false => format!("{text}\n\n{}", list(&table.notes)),
    }
}
