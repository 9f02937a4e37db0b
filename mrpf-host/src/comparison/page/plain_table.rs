//! Tables of reports as HTML.

use maud::{Markup, html};

use crate::comparison::tables::document::Table;

/// The table; `id` is the anchor of its caption.
pub fn plain_table(table: &Table, id: &str, caption: &str) -> Markup {
    let caption_id = format!("{id}-caption");
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby=(caption_id) {
            p.hidden role="status" {}
            table data-sortable {
                caption id=(caption_id) { (caption) }
                thead { tr { @for column in &table.columns { th.text[!column.figures] scope="col" { (column.name) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (column, cell) in table.columns.iter().zip(row) {
                            td.text[!column.figures] { (cell) }
                        } }
                    }
                }
            }
        }
    }
}
