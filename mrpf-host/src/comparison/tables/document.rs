//! A report before it has a format: headings, paragraphs, lists and tables of plain text.

/// A report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// What it is about.
    pub title: String,
    /// What stands in it.
    pub blocks: Vec<Block>,
}

/// A part of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// Begins a section.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Points without an order.
    List(Vec<String>),
    /// A table.
    Table(Table),
    /// Text as it is written.
    Verbatim(String),
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::comparison) struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// A cell for each column, row by row.
    pub rows: Vec<Vec<String>>,
    /// Lines that belong below it, wherever it is shown.
    pub notes: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::comparison) struct Column {
    /// Its heading.
    pub name: String,
    /// Whether it holds figures, which are set flush right.
    pub figures: bool,
}

impl Column {
    /// A column of words.
    pub fn words(name: impl Into<String>) -> Self {
        Self { name: name.into(), figures: false }
    }

    /// A column of figures.
    pub fn figures(name: impl Into<String>) -> Self {
        Self { name: name.into(), figures: true }
    }
}

/// A text on one line, whatever stood in it.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
