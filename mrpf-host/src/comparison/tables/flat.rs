//! All networks as one flat table with typed columns: what `results.csv` and the table `runs` of `results.sqlite` hold.

use std::collections::{BTreeMap, BTreeSet};

use super::super::findings::{DenseFinding, Finding, Findings, Place};
use super::super::statistics::Statistics;
use super::document::one_line;
use crate::results::Row;

/// A value of the table.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any number.
    Real(f64),
}

/// What the values of a column are, where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Texts.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Real,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatColumn {
    /// Its name.
    pub name: String,
    /// Its values.
    pub kind: Kind,
}

/// All networks, and those that are missing, one a row.
#[derive(Debug, Clone, PartialEq)]
pub struct FlatTable {
    /// The columns.
    pub columns: Vec<FlatColumn>,
    /// A value for each column: first the dense networks, then the pruned ones, then those that failed.
    pub rows: Vec<Vec<Value>>,
}

/// How a row's values are put together: by column, in the order of the columns.
struct Cells(Vec<(String, Kind, Value)>);

impl Cells {
    fn text(&mut self, name: &str, value: Option<&str>) {
        self.0.push((name.into(), Kind::Text, value.map_or(Value::Null, |value| Value::Text(value.into()))));
    }

    fn integer(&mut self, name: &str, value: Option<u64>) {
        // SQLite's integers have a sign; a seed above that is told by its digits.
        let value = value.map_or(Value::Null, |value| {
            i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Integer)
        });
        self.0.push((name.into(), Kind::Integer, value));
    }

    fn real(&mut self, name: &str, value: Option<f64>) {
        self.0.push((name.into(), Kind::Real, value.map_or(Value::Null, Value::Real)));
    }
}

/// What a row is about.
enum Subject<'a> {
    Dense(&'a DenseFinding),
    Pruned(&'a Finding),
    Failed(&'a Place, Vec<String>),
}

impl FlatTable {
    /// The table of a comparison.
    pub fn new(findings: &Findings, statistics: &Statistics) -> Self {
        let attacks: BTreeSet<&str> = findings
            .dense
            .iter()
            .map(|dense| &dense.row)
            .chain(findings.pruned.iter().map(|pruned| &pruned.row))
            .flat_map(|row| row.attacks.keys().map(String::as_str))
            .collect();
        let mut missing: BTreeMap<&Place, Vec<String>> = BTreeMap::new();
        for failure in &findings.failures {
            for place in &failure.places {
                missing.entry(place).or_default().push(format!("{}: {}", failure.stage, one_line(&failure.reason)));
            }
        }
        let subjects = findings.dense.iter().map(Subject::Dense).chain(findings.pruned.iter().map(Subject::Pruned));
        let subjects = subjects.chain(missing.into_iter().map(|(place, reasons)| Subject::Failed(place, reasons)));
        let mut all: Vec<Vec<(String, Kind, Value)>> =
            subjects.map(|subject| cells(findings, statistics, &attacks, &subject).0).collect();
        // Every row has the same columns.
        let columns = match all.first() {
            Some(first) => first.iter().map(|(name, kind, _)| FlatColumn { name: name.clone(), kind: *kind }).collect(),
            None => Vec::new(),
        };
        let rows = all.iter_mut().map(|row| row.drain(..).map(|(_, _, value)| value).collect()).collect();
        Self { columns, rows }
    }
}

fn cells(findings: &Findings, statistics: &Statistics, attacks: &BTreeSet<&str>, subject: &Subject<'_>) -> Cells {
    let nothing = Row::default();
    let (kind, row, place, settings) = match subject {
        Subject::Dense(dense) => ("dense", Some(&dense.row), None, &dense.settings),
        Subject::Pruned(pruned) => ("pruned", Some(&pruned.row), Some(&pruned.place), &pruned.place.settings),
        Subject::Failed(place, _) => ("failed", None, Some(*place), &place.settings),
    };
    let dense = match subject {
        Subject::Pruned(pruned) => findings.dense_of(pruned),
        Subject::Dense(_) | Subject::Failed(..) => None,
    };
    let name = match (row, place) {
        (Some(row), _) => row.name.clone(),
        (None, place) => place.map(Place::to_string).unwrap_or_default(),
    };
    let known = row.is_some();
    let row = row.unwrap_or(&nothing);
    let pruned = matches!(subject, Subject::Pruned(_));
    let classes = place.and_then(|place| classes(statistics, place));
    let kept = |figure: fn(&mrpf_api::coupling::Cost) -> u64| match subject {
        Subject::Pruned(pruned) => Some(figure(&pruned.cost) as f64 / figure(&pruned.cut.dense).max(1) as f64),
        Subject::Dense(_) => Some(1.0),
        Subject::Failed(..) => None,
    };
    let mut cells = Cells(Vec::new());
    cells.text("name", Some(&name));
    cells.text("kind", Some(kind));
    cells.text("method", place.map(|place| place.method.as_str()));
    for axis in &findings.axes {
        let value = settings.get(&axis.setting).map(String::as_str);
        // Ratios and the like sort and compare as numbers.
        match axis.values.iter().all(|value| value.parse::<f64>().is_ok()) {
            true => cells.real(&axis.setting, value.and_then(|value| value.parse().ok())),
            false => cells.text(&axis.setting, value),
        }
    }
    cells.integer("seed", Some(place.map_or(row.seed, |place| place.seed)));
    cells.text("dense", dense.map(|dense| dense.row.name.as_str()));
    cells.text("sensitivity", row.sensitivity.as_deref());
    cells.text("criterion", row.criterion.as_deref());
    cells.text("allocation", row.allocation.as_deref());
    cells.text("schedule", row.schedule.as_deref());
    cells.text("trainer", known.then_some(row.trainer.as_str()));
    cells.text("budget", known.then_some(row.budget.as_str()));
    cells.real("ratio_asked", pruned.then_some(row.ratio_asked));
    cells.real("ratio_achieved", pruned.then_some(row.ratio_achieved));
    cells.integer("macs", known.then_some(row.macs));
    cells.real("macs_kept", kept(|cost| cost.macs));
    cells.integer("params", known.then_some(row.params));
    cells.real("params_kept", kept(|cost| cost.params));
    cells.integer("images", known.then_some(row.images as u64));
    cells.real("clean_accuracy", known.then_some(row.clean_accuracy));
    cells.real("clean_low", known.then_some(row.clean_interval[0]));
    cells.real("clean_high", known.then_some(row.clean_interval[1]));
    cells.real("robust_accuracy", known.then_some(row.robust_accuracy));
    cells.real("robust_low", known.then_some(row.robust_interval[0]));
    cells.real("robust_high", known.then_some(row.robust_interval[1]));
    cells.real("clean_drop", dense.map(|dense| dense.row.clean_accuracy - row.clean_accuracy));
    cells.real("robust_drop", dense.map(|dense| dense.row.robust_accuracy - row.robust_accuracy));
    cells.text("epsilon", known.then_some(row.epsilon.as_str()));
    for attack in attacks {
        cells.real(&format!("robust_accuracy.{attack}"), row.attacks.get(*attack).map(|found| found.robust_accuracy));
    }
    cells.real("clean_accuracy_pruned", row.clean_accuracy_pruned);
    cells.real("robust_accuracy_pruned", row.robust_accuracy_pruned);
    cells.text("class", classes.filter(|_| pruned).as_deref());
    let signs: Vec<&str> = row.signs.iter().map(|sign| sign.name.as_str()).collect();
    cells.text("signs", Some(signs.join(", ").as_str()).filter(|signs| !signs.is_empty()));
    cells.text("shortfall", row.shortfall.as_deref());
    cells.text("model", known.then_some(row.model.as_str()));
    let failure = match subject {
        Subject::Failed(_, reasons) => Some(reasons.join("; ")),
        Subject::Dense(_) | Subject::Pruned(_) => None,
    };
    cells.text("failure", failure.as_deref());
    cells
}

/// The classes of a place's method in the ranking at its setting: `1`, `1, 2`.
fn classes(statistics: &Statistics, place: &Place) -> Option<String> {
    let setting = statistics.settings.iter().find(|setting| setting.settings == place.settings)?;
    let method = setting.methods.iter().find(|method| method.method == place.method)?;
    Some(class_text(&method.classes))
}

/// `1`, `1, 2`.
pub(in crate::comparison) fn class_text(classes: &[usize]) -> String {
    classes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
