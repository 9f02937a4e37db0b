//! `mrpf explain`: what happened to a layer in a run, and why.

use mrpf_api::{Error, ErrorKind, Result};
use std::fmt::Write;

use super::Console;
use crate::cli::ExplainArgs;
use crate::pipeline::PrunedRow;
use crate::pruning::{GroupRecord, PruneRecord};
use crate::run_dir::RunDir;

/// Prints the groups that a layer takes part in, or all groups, and what each row of the comparison did with them.
pub fn explain(args: &ExplainArgs, console: &Console<'_>) -> Result<()> {
    let dir = RunDir::inspect(&args.run)?;
    let mut rows = dir.read_plans()?;
    if let Some(wanted) = &args.row {
        if rows.iter().all(|row| row.row != *wanted) {
            return Err(Error::unknown_name("row", wanted, rows.iter().map(|row| row.row.as_str())));
        }
        rows.retain(|row| row.row == *wanted);
    }
    if rows.is_empty() {
        let message = format!("no network has been pruned in {}", args.run.display());
        return Err(Error::new(ErrorKind::Data, message).hint("name the directory of a `mrpf run` or `mrpf prune`"));
    }
    let mut text = String::new();
    for row in &rows {
        text.push_str(&explain_row(row, args.layer.as_deref())?);
    }
    (console.print)(text.trim_end());
    Ok(())
}

fn explain_row(row: &PrunedRow, layer: Option<&str>) -> Result<String> {
    let mut text = format!("row `{}`\n", row.row);
    for (at, record) in row.rounds.iter().enumerate() {
        let touching: Vec<&GroupRecord> = record
            .groups
            .iter()
            .filter(|entry| layer.is_none_or(|layer| entry.group.members.iter().any(|member| member.layer == layer)))
            .collect();
        if let (true, Some(layer)) = (touching.is_empty(), layer) {
            let names = record.groups.iter().flat_map(|entry| &entry.group.members).map(|member| member.layer.as_str());
            let mut known: Vec<&str> = names.collect();
            known.sort_unstable();
            known.dedup();
            return Err(Error::unknown_name("layer with channels", layer, known));
        }
        if row.rounds.len() > 1 {
            let _ = writeln!(text, " round {}", at + 1);
        }
        for entry in touching {
            text.push_str(&explain_group(entry, record));
        }
    }
    Ok(text)
}

fn explain_group(entry: &GroupRecord, record: &PruneRecord) -> String {
    let mut text = String::new();
    for line in entry.group.to_string().lines() {
        let _ = writeln!(text, "  {line}");
    }
    match entry.sensitivity {
        Some(value) => {
            let known: Vec<f64> = record.groups.iter().filter_map(|other| other.sensitivity).collect();
            let rank = 1 + known.iter().filter(|&&other| other > value).count();
            let _ =
                writeln!(text, "  sensitivity {value:.4}, place {rank} of {} (1 is the most sensitive)", known.len());
        }
        None => text.push_str("  sensitivity: not measured for this row\n"),
    }
    if !entry.scores.is_empty() {
        let mut sorted = entry.scores.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let _ = writeln!(text, "  scores {:.4} lowest, {:.4} median, {:.4} highest", at(0.0), at(0.5), at(1.0));
        let kept = |channel: &usize| entry.kept.binary_search(channel).is_ok();
        let (kept, gone): (Vec<usize>, Vec<usize>) = (0..entry.scores.len()).partition(kept);
        if let (Some(worst_kept), Some(best_gone)) = (
            kept.iter().map(|&channel| entry.scores[channel]).reduce(f64::min),
            gone.iter().map(|&channel| entry.scores[channel]).reduce(f64::max),
        ) {
            let _ = writeln!(text, "  the lowest score kept is {worst_kept:.4}, the highest removed {best_gone:.4}");
        }
    }
    let (channels, kept) = (entry.group.channels, entry.kept.len());
    let why = match &entry.group.frozen {
        Some(reason) => format!("kept whole: {reason}"),
        None if kept == channels => "kept whole: the budget is met without it".into(),
        None => format!("kept {kept} of {channels} channels, {:.1} % removed", 100.0 * entry.ratio()),
    };
    let _ = writeln!(text, "  {why}");
    let _ = writeln!(
        text,
        "  whole network: {:.1} % asked to go, {:.1} % gone{}\n",
        100.0 * record.ratio_asked,
        100.0 * record.ratio_achieved,
        record.shortfall.as_ref().map_or(String::new(), |why| format!(" ({why})"))
    );
    text
}
