//! A forecast as people read it.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

use super::count;
use crate::pruning::Forecast;

/// The layers, what the network would cost, and what is not known yet.
pub fn forecast_text(forecast: &Forecast) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["layer", "group", "channels", "keeps", ""]);
    for layer in &forecast.layers {
        let why = layer.whole.clone().unwrap_or_default();
        table.add_row([
            layer.layer.clone(),
            layer.group.clone(),
            layer.channels.to_string(),
            layer.keep.to_string(),
            why,
        ]);
    }
    table.column_iter_mut().skip(2).take(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let mut text = format!("{table}\n\n");
    let (before, after) = (&forecast.before, &forecast.after);
    for (name, now, then) in [
        ("MACs", before.macs, after.macs),
        ("parameters", before.params, after.params),
        ("channels", before.channels, after.channels),
        ("bytes", before.bytes, after.bytes),
    ] {
        let _ = writeln!(text, "{name:<11} {} to {}{}", count(now), count(then), gone(now as f64, then as f64));
    }
    if let Some([now, then]) = forecast.latency_ms {
        let _ = writeln!(text, "latency     {now:.2} to {then:.2} ms{}, by the table of layer times", gone(now, then));
    }
    let (asked, achieved) = (100.0 * forecast.ratio_asked, 100.0 * forecast.ratio_achieved);
    let _ = write!(text, "budget      {asked:.1} % of the {} asked to go, {achieved:.1} % would go", forecast.budget);
    if let Some(why) = &forecast.shortfall {
        let _ = write!(text, " ({why})");
    }
    for unknown in &forecast.unknown {
        let _ = write!(text, "\nnot known   {unknown}");
    }
    text
}

fn gone(now: f64, then: f64) -> String {
    format!(" ({:.1} % gone)", 100.0 * (1.0 - then / now.max(f64::MIN_POSITIVE)))
}
