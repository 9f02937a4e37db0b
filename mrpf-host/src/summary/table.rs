//! A summary as people read it.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use mrpf_api::network::{AttentionUnit, LayerKind};
use mrpf_api::numeric::PoolGeometry;

use super::{GroupSummary, LayerSummary, Summary};
use crate::output::count;

/// Two tables, layers and groups, between a heading and the totals.
pub fn as_text(summary: &Summary) -> String {
    let [channels, height, width] = summary.input;
    let Summary { architecture, classes, params, macs, .. } = summary;
    let frozen = summary.groups.iter().filter(|group| group.frozen.is_some()).count();
    format!(
        "`{architecture}` for {channels}x{height}x{width} images in {classes} classes\n\n{}\n\n{}\n\n\
         {} layers, {} channel groups ({frozen} frozen)\nparams {}\nmacs   {}",
        layers(summary),
        groups(summary),
        summary.layers.len(),
        summary.groups.len(),
        exact(*params),
        exact(*macs),
    )
}

/// The number, and in short where that is shorter.
fn exact(value: u64) -> String {
    let short = count(value);
    if short == value.to_string() { short } else { format!("{value} ({short})") }
}

fn layers(summary: &Summary) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["layer", "kind", "output", "channels of", "params", "MACs"]);
    for layer in &summary.layers {
        let LayerSummary { name, kind, shape, params, macs, groups, .. } = layer;
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        let number = |value: &u64| if *value == 0 { String::new() } else { count(*value) };
        let groups = some(groups, "-");
        table.add_row([name.clone(), described(kind), shape.join("x"), groups, number(params), number(macs)]);
    }
    table.column_iter_mut().skip(4).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn groups(summary: &Summary) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["group", "channels", "made by", "read by", "frozen"]);
    for GroupSummary { name, channels, frozen, made_by, read_by, .. } in &summary.groups {
        let why = frozen.clone().unwrap_or_default();
        table.add_row([name.clone(), channels.to_string(), some(made_by, "-"), some(read_by, "-"), why]);
    }
    table.column_iter_mut().skip(1).take(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// The first of several names, and how many there are beside it.
fn some(names: &[String], none: &str) -> String {
    match names {
        [] => none.into(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// The kind with its window, stride and blocks, as far as they are not the usual ones.
fn described(kind: &LayerKind) -> String {
    let pair = |[height, width]: [usize; 2]| format!("{height}x{width}");
    let stride = |stride: [usize; 2]| match stride {
        [1, 1] => String::new(),
        [height, width] if height == width => format!(", stride {height}"),
        both => format!(", stride {}", pair(both)),
    };
    match kind {
        LayerKind::Conv2d(conv) => {
            let geometry = &conv.geometry;
            let blocks = match geometry.groups {
                1 => String::new(),
                _ if conv.is_depthwise() => ", depthwise".into(),
                groups => format!(", {groups} blocks"),
            };
            format!("{} {}{}{blocks}", kind.name(), pair(geometry.kernel), stride(geometry.stride))
        }
        LayerKind::Attention(attention) => {
            let unit = match attention.unit {
                AttentionUnit::Width => "cut by width",
                AttentionUnit::Head => "cut by head",
            };
            format!("{}, {} heads, {unit}", kind.name(), attention.heads)
        }
        LayerKind::Unfold { patch } | LayerKind::Fold { patch, .. } => format!("{} {}", kind.name(), pair(*patch)),
        LayerKind::MaxPool(PoolGeometry { kernel, stride: step, .. })
        | LayerKind::AvgPool(PoolGeometry { kernel, stride: step, .. }) => {
            format!("{} {}{}", kind.name(), pair(*kernel), stride(*step))
        }
        _ => kind.name().into(),
    }
}
