//! The comparison table: every method at every setting, beside the dense networks.

use std::collections::{BTreeMap, BTreeSet};

use super::super::findings::{Findings, Place};
use super::super::statistics::{Mean, MethodStatistics, Statistics};
use super::document::{Column, Table, one_line};
use super::figures::{cost, points, share};
use super::flat::class_text;

/// A row of the table.
pub(in crate::comparison) struct Line {
    /// The method, or `dense`.
    pub method: String,
    /// The values of what the grid varies, by path.
    pub settings: BTreeMap<String, String>,
    /// `2`, `1 of 2`.
    pub seeds: String,
    /// The figures; none where nothing could be computed.
    pub figures: Option<MethodStatistics>,
}

/// The rows: dense networks, then settings with their methods, those that failed among them.
pub(in crate::comparison) fn lines(findings: &Findings, statistics: &Statistics) -> Vec<Line> {
    let mut lines = dense(findings);
    for setting in &statistics.settings {
        for method in &findings.methods {
            let found = setting.methods.iter().find(|found| found.method == *method);
            let is_here = |place: &&Place| place.method == *method && place.settings == setting.settings;
            let places = findings.failures.iter().flat_map(|failure| &failure.places);
            let missing: BTreeSet<u64> = places.filter(is_here).map(|place| place.seed).collect();
            let there = found.map_or(0, |found| found.seeds.len());
            if there + missing.len() == 0 {
                continue;
            }
            let seeds = match missing.len() {
                0 => there.to_string(),
                missing => format!("{there} of {}", there + missing),
            };
            lines.push(Line {
                method: method.clone(),
                settings: setting.settings.clone(),
                seeds,
                figures: found.cloned(),
            });
        }
    }
    lines
}

/// Dense networks that differ in nothing but their seeds share a row.
fn dense(findings: &Findings) -> Vec<Line> {
    let mut settings: Vec<&BTreeMap<String, String>> = Vec::new();
    for dense in &findings.dense {
        if !settings.contains(&&dense.settings) {
            settings.push(&dense.settings);
        }
    }
    let line = |settings: &BTreeMap<String, String>| {
        let networks: Vec<_> = findings.dense.iter().filter(|dense| dense.settings == *settings).collect();
        let mean = |figure: &dyn Fn(&super::super::findings::DenseFinding) -> f64| {
            Mean::of(&networks.iter().map(|dense| figure(dense)).collect::<Vec<f64>>())
        };
        let whole = Mean { mean: 1.0, half: None, seeds: networks.len() };
        Some(Line {
            method: "dense".into(),
            settings: settings.clone(),
            seeds: networks.len().to_string(),
            figures: Some(MethodStatistics {
                method: "dense".into(),
                seeds: networks.iter().map(|dense| dense.row.seed).collect(),
                macs: mean(&|dense| dense.row.macs as f64)?,
                macs_kept: whole,
                params: mean(&|dense| dense.row.params as f64)?,
                params_kept: whole,
                clean: mean(&|dense| dense.evaluation.clean_accuracy())?,
                robust: mean(&|dense| dense.evaluation.robust_accuracy())?,
                clean_drop: None,
                robust_drop: None,
                classes: Vec::new(),
            }),
        })
    };
    settings.into_iter().filter_map(line).collect()
}

/// The table as it stands in reports.
pub(super) fn table(findings: &Findings, statistics: &Statistics) -> Table {
    let mut columns = vec![Column::words("method")];
    columns.extend(findings.axes.iter().map(|axis| Column::words(axis.setting.as_str())));
    let headings = ["seeds", "MACs", "parameters", "clean", "robust", "clean drop", "robust drop", "class"];
    columns.extend(headings.map(Column::figures));
    let rows = lines(findings, statistics).into_iter().map(|line| {
        let mut row = vec![line.method];
        row.extend(findings.axes.iter().map(|axis| line.settings.get(&axis.setting).cloned().unwrap_or("-".into())));
        row.push(line.seeds);
        row.extend(figures(line.figures.as_ref()));
        row
    });
    Table { columns, rows: rows.collect(), notes: missing(findings) }
}

fn figures(found: Option<&MethodStatistics>) -> [String; 7] {
    let Some(found) = found else {
        return ["failed", "-", "-", "-", "-", "-", "-"].map(str::to_owned);
    };
    let drop = |drop: &Option<Mean>| drop.as_ref().map_or("-".into(), points);
    [
        cost(&found.macs, &found.macs_kept),
        cost(&found.params, &found.params_kept),
        share(&found.clean),
        share(&found.robust),
        drop(&found.clean_drop),
        drop(&found.robust_drop),
        if found.classes.is_empty() { "-".into() } else { class_text(&found.classes) },
    ]
}

/// That something is missing in a table, where it is.
pub(super) fn missing(findings: &Findings) -> Vec<String> {
    match findings.failures.len() {
        0 => Vec::new(),
        1 => vec!["1 stage failed, and what hangs on it is missing here; why is told in a list of its own.".into()],
        failures => vec![format!(
            "{failures} stages failed, and what hangs on them is missing here; why is told in a list of its own."
        )],
    }
}

/// A line for each failure: what failed, why, and what is missing because of it.
pub(super) fn failed(findings: &Findings) -> Vec<String> {
    let line = |failure: &super::super::findings::Failure| {
        let missing: Vec<String> = failure.places.iter().map(Place::to_string).collect();
        let missing = match missing.as_slice() {
            [] => String::new(),
            places => format!(" (missing: {})", places.join("; ")),
        };
        format!("failed: {}: {}{missing}", failure.stage, one_line(&failure.reason))
    };
    findings.failures.iter().map(line).collect()
}
