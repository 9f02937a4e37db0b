//! The report of a comparison: what was compared, what is shown, and everything that is needed to judge it.

use mrpf_api::Result;

use super::super::findings::{Findings, Place};
use super::super::statistics::{LEVEL, Outcome, RESAMPLES, SettingStatistics, Statistics, Unit};
use super::comparison::{failed, missing, table};
use super::document::{Block, Column, Document, Table};
use super::figures::{coefficient, difference, p_value};
use super::versions::Versions;
use crate::experiment::{Experiment, Pretraining};
use crate::results::Results;

/// The report, before it has a format.
pub(super) fn report(findings: &Findings, statistics: &Statistics) -> Result<Document> {
    let mut blocks = vec![
        Block::Text(introduction(findings)),
        Block::Table(table(findings, statistics)),
        Block::List(how_to_read(findings, statistics)),
        Block::Heading("What is shown".into()),
        Block::List(statistics.settings.iter().map(shown).collect()),
        Block::Heading("Failures".into()),
    ];
    blocks.push(match findings.failures.is_empty() {
        true => Block::Text("Everything was computed.".into()),
        false => Block::List(failed(findings)),
    });
    for outcome in Outcome::ALL {
        if statistics.family(outcome) > 0 {
            blocks.push(Block::Heading(format!("Pairs of methods, {}", outcome.name())));
            blocks.push(Block::Table(pairs(findings, statistics, outcome)));
        }
    }
    if !statistics.agreement.is_empty() {
        blocks.push(Block::Heading("Agreement of sensitivity metrics".into()));
        blocks.push(Block::Table(agreement(findings, statistics)));
    }
    if statistics.settings.iter().any(|setting| !setting.overlaps.is_empty()) {
        blocks.push(Block::Heading("Overlap of kept channels".into()));
        blocks.push(Block::Table(overlaps(findings, statistics)));
    }
    blocks.push(Block::Heading("Signs of false robustness".into()));
    blocks.push(signs(findings));
    blocks.push(Block::Heading("Versions".into()));
    blocks.push(Block::List(versions(&Versions::of(findings))));
    blocks.push(Block::Heading("Settings".into()));
    blocks.push(Block::Text(
        "As in comparison.toml beside this report, without the folders of this machine. The same settings and versions give the \
         same networks and the same figures."
            .into(),
    ));
    blocks.push(Block::Verbatim(settings(&findings.experiment)?));
    Ok(Document { title: findings.experiment.name.clone(), blocks })
}

/// What was compared, as a sentence.
pub(in crate::comparison) fn introduction(findings: &Findings) -> String {
    let rows = || findings.dense.iter().map(|dense| &dense.row).chain(findings.pruned.iter().map(|found| &found.row));
    let results = Results::new(&findings.experiment, rows().cloned().collect());
    let evaluations = findings.pruned.iter().map(|found| &found.evaluation);
    let mut evaluations = findings.dense.iter().map(|dense| &dense.evaluation).chain(evaluations);
    let (images, attacks) = evaluations.next().map_or((0, Vec::new()), |found| {
        (found.images, found.attacks.iter().map(|attack| attack.name.as_str()).collect())
    });
    let from = match (findings.experiment.grid.pretraining, findings.dense.len()) {
        (Pretraining::PerSeed, _) => "each seed from a dense network of its own",
        (Pretraining::Shared, 1) => "all from the same dense network",
        (Pretraining::Shared, _) => "from the dense network of their settings",
    };
    format!(
        "Network {} on data set {}: {} pruned networks by {} methods, {from}. Robust accuracy is the share of {images} test images \
         that survive {} in the {} ball of radius {}.",
        results.architecture,
        results.data,
        findings.pruned.len(),
        findings.methods.len(),
        attacks.join(" and "),
        results.norm,
        results.epsilon,
    )
}

/// What the columns of the tables mean, and which budgets were not met.
pub(in crate::comparison) fn how_to_read(findings: &Findings, statistics: &Statistics) -> Vec<String> {
    let mut points = vec![
        "MACs, parameters: of one image, and what that is of the dense network's; means over seeds.".to_owned(),
        "clean, robust: mean over seeds ± half of Student's 95 % interval; without ± where there is one seed."
            .to_owned(),
        "drop: accuracy of the dense network less that of the pruned one, in points of percent.".to_owned(),
        format!(
            "class: methods share a class exactly if no difference in robust accuracy is shown between them at that setting, 1 is the \
             best. A difference is shown where the corrected p value is below {LEVEL} and the interval of the difference leaves out 0."
        ),
        format!(
            "p values: McNemar's test image by image. With several seeds an image speaks for the method that is right with it more \
             often. The mid-p value is corrected by Holm for all {} pairs of an outcome; the exact value is given beside it.",
            statistics.family(Outcome::Robust)
        ),
        format!(
            "difference: its 95 % interval is the bootstrap's over seeds and images, {RESAMPLES} times drawn. With two or three seeds it \
             says what these networks would do on other images, and little about other seeds."
        ),
    ];
    for found in &findings.pruned {
        if let Some(why) = &found.row.shortfall {
            points.push(format!("{}: {why}.", found.row.name));
        }
    }
    points
}

/// A setting as people read it; empty where nothing is varied.
pub(super) fn setting_text(setting: &SettingStatistics) -> String {
    Place::settings_text(&setting.settings).trim_start_matches(", ").to_owned()
}

/// What is shown at a setting.
pub(in crate::comparison) fn shown(setting: &SettingStatistics) -> String {
    match setting_text(setting).as_str() {
        "" => format!("{}.", setting.ranking.words),
        at => format!("{at}: {}.", setting.ranking.words),
    }
}

/// Columns for what the grid varies, and a setting's cells in them.
fn setting_columns(findings: &Findings) -> Vec<Column> {
    findings.axes.iter().map(|axis| Column::words(axis.setting.as_str())).collect()
}

fn setting_cells(findings: &Findings, setting: &SettingStatistics) -> Vec<String> {
    let value = |setting_path: &String| setting.settings.get(setting_path).cloned().unwrap_or("-".into());
    findings.axes.iter().map(|axis| value(&axis.setting)).collect()
}

/// Every two methods at each setting, for an outcome.
pub(in crate::comparison) fn pairs(findings: &Findings, statistics: &Statistics, outcome: Outcome) -> Table {
    let mut columns = setting_columns(findings);
    columns.extend(["first", "second"].map(Column::words));
    columns.extend(["difference", "for first", "for second", "exact p", "mid-p", "corrected"].map(Column::figures));
    columns.push(Column::words("shown"));
    let mut rows = Vec::new();
    for setting in &statistics.settings {
        for pair in setting.pairs.iter().filter(|pair| pair.outcome == outcome) {
            let mut row = setting_cells(findings, setting);
            row.extend([
                pair.first.clone(),
                pair.second.clone(),
                difference(pair.difference, pair.interval),
                pair.test.only_first.to_string(),
                pair.test.only_second.to_string(),
                p_value(pair.test.exact_p),
                p_value(pair.test.mid_p),
                p_value(pair.corrected_p),
                if pair.shown { "yes" } else { "no" }.into(),
            ]);
            rows.push(row);
        }
    }
    Table { columns, rows, notes: missing(findings) }
}

/// How alike metrics order what is pruned.
pub(in crate::comparison) fn agreement(findings: &Findings, statistics: &Statistics) -> Table {
    let mut columns = Vec::from(["network", "first", "second"].map(Column::words));
    columns.extend(["groups", "Spearman", "Kendall tau-b"].map(Column::figures));
    let row = |found: &super::super::statistics::Agreement| {
        let count = match found.unit {
            Unit::Groups => found.count.to_string(),
            Unit::Modules => format!("{} modules", found.count),
        };
        let [spearman, kendall] = [found.spearman, found.kendall].map(coefficient);
        vec![found.network.clone(), found.first.clone(), found.second.clone(), count, spearman, kendall]
    };
    Table { columns, rows: statistics.agreement.iter().map(row).collect(), notes: missing(findings) }
}

/// How much of what one method keeps another keeps too.
pub(in crate::comparison) fn overlaps(findings: &Findings, statistics: &Statistics) -> Table {
    let mut columns = setting_columns(findings);
    columns.extend(["first", "second"].map(Column::words));
    columns.extend(["Jaccard", "by chance"].map(Column::figures));
    let mut rows = Vec::new();
    for setting in &statistics.settings {
        for overlap in &setting.overlaps {
            let mut row = setting_cells(findings, setting);
            let figures = [overlap.jaccard, overlap.by_chance].map(|value| coefficient(Some(value)));
            row.extend([overlap.first.clone(), overlap.second.clone()].into_iter().chain(figures));
            rows.push(row);
        }
    }
    Table { columns, rows, notes: missing(findings) }
}

fn signs(findings: &Findings) -> Block {
    let rows = findings.dense.iter().map(|dense| &dense.row).chain(findings.pruned.iter().map(|found| &found.row));
    let told: Vec<String> = rows
        .flat_map(|row| row.signs.iter().map(|sign| format!("{}: {}: {}.", row.name, sign.name, sign.message)))
        .collect();
    match told.is_empty() {
        true => Block::Text("None showed. SIGNS.md in mrpf's sources lists what is looked for.".into()),
        false => Block::List(told),
    }
}

fn versions(versions: &Versions) -> Vec<String> {
    let mrpf = format!("mrpf {}", versions.mrpf);
    let plugin = |plugin: &super::versions::PluginVersion| {
        format!("{} {}: {} {}", plugin.kind, plugin.name, plugin.package, plugin.version)
    };
    std::iter::once(mrpf).chain(versions.plugins.iter().map(plugin)).collect()
}

/// The settings without the folders of this machine.
fn settings(experiment: &Experiment) -> Result<String> {
    let mut experiment = experiment.clone();
    experiment.data.dir = None;
    experiment.plugins.clear();
    experiment.to_toml()
}
