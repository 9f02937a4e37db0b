//! `results.sqlite`: networks, the outcome of every image, what was kept and measured, and failures, for queries.

use mrpf_api::{Error, ErrorKind, Result};
use rusqlite::{Connection, ToSql, Transaction, params};
use std::path::Path;

use super::findings::Findings;
use super::tables::{FlatTable, Kind, Value};
use crate::evaluation::Evaluation;
use crate::files::write_atomically;
use crate::pipeline::PrunedRow;

/// Its name in the directory of a comparison.
pub const FILE: &str = "results.sqlite";

/// The tables beside `runs`, whose columns depend on the grid. `run` is everywhere the number of a row of `runs`.
///
/// `groups` holds the kept channels in the numbering of the dense network, and scores and sensitivity of the first round, which are
/// about that network too; lists are JSON.
const SCHEMA: &str = "
CREATE TABLE images (
    run INTEGER NOT NULL, image INTEGER NOT NULL, label INTEGER NOT NULL, predicted INTEGER NOT NULL, attack TEXT NOT NULL,
    attacked INTEGER NOT NULL, survives INTEGER NOT NULL, broken_by TEXT, loss REAL, distance REAL
);
CREATE TABLE groups (
    run INTEGER NOT NULL, channel_group TEXT NOT NULL, channels INTEGER NOT NULL, kept INTEGER NOT NULL, kept_channels TEXT NOT NULL,
    sensitivity REAL, scores TEXT NOT NULL, frozen TEXT
);
CREATE TABLE sensitivities (run INTEGER NOT NULL, metric TEXT NOT NULL, module TEXT NOT NULL, value REAL NOT NULL);
CREATE TABLE failures (stage TEXT NOT NULL, reason TEXT NOT NULL, missing TEXT NOT NULL);
CREATE TABLE versions (name TEXT NOT NULL, version TEXT NOT NULL);
";

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(rusqlite::types::Null.into()),
            Self::Text(text) => text.to_sql(),
            Self::Integer(number) => number.to_sql(),
            Self::Real(number) => number.to_sql(),
        }
    }
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes the database; the same findings give the same content. `runs` are their networks as one flat table.
///
/// # Errors
/// [`ErrorKind::Io`] if it cannot be written.
pub fn write_database(findings: &Findings, runs: &FlatTable, directory: &Path) -> Result<()> {
    // It is made in memory and written as a whole, so that nobody sees half of it.
    let bytes = serialized(findings, runs)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the results cannot be written as SQLite: {error}")))?;
    write_atomically(&directory.join(FILE), &bytes)
}

fn serialized(findings: &Findings, runs: &FlatTable) -> rusqlite::Result<Vec<u8>> {
    let mut database = Connection::open_in_memory()?;
    let transaction = database.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    insert_runs(&transaction, runs)?;
    let pruned = findings.dense.len();
    for (run, dense) in findings.dense.iter().enumerate() {
        insert_images(&transaction, run, &dense.evaluation)?;
        let mut insert = transaction.prepare("INSERT INTO sensitivities VALUES (?, ?, ?, ?)")?;
        for (metric, modules) in &dense.sensitivities {
            for module in modules {
                insert.execute(params![run as i64, metric, module.module, module.value])?;
            }
        }
    }
    for (at, finding) in findings.pruned.iter().enumerate() {
        insert_images(&transaction, pruned + at, &finding.evaluation)?;
        insert_groups(&transaction, pruned + at, &finding.cut)?;
    }
    for failure in &findings.failures {
        let missing: Vec<String> = failure.places.iter().map(ToString::to_string).collect();
        transaction
            .execute("INSERT INTO failures VALUES (?, ?, ?)", params![failure.stage, failure.reason, json(&missing)])?;
    }
    transaction.execute("INSERT INTO versions VALUES ('mrpf', ?)", [env!("CARGO_PKG_VERSION")])?;
    transaction
        .execute_batch("CREATE INDEX images_of_run ON images (run); CREATE INDEX groups_of_run ON groups (run);")?;
    transaction.commit()?;
    Ok(database.serialize("main")?.to_vec())
}

fn insert_runs(transaction: &Transaction<'_>, runs: &FlatTable) -> rusqlite::Result<()> {
    let column = |column: &super::tables::FlatColumn| {
        let kind = match column.kind {
            Kind::Text => "TEXT",
            Kind::Integer => "INTEGER",
            Kind::Real => "REAL",
        };
        format!(", {} {kind}", quoted(&column.name))
    };
    let columns: String = runs.columns.iter().map(column).collect();
    transaction.execute_batch(&format!("CREATE TABLE runs (run INTEGER PRIMARY KEY{columns});"))?;
    let mut insert =
        transaction.prepare(&format!("INSERT INTO runs VALUES (?{})", ", ?".repeat(runs.columns.len())))?;
    for (run, row) in runs.rows.iter().enumerate() {
        let run = Value::Integer(run as i64);
        insert.execute(rusqlite::params_from_iter(std::iter::once(&run).chain(row)))?;
    }
    Ok(())
}

fn insert_images(transaction: &Transaction<'_>, run: usize, evaluation: &Evaluation) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (at, attack) in evaluation.attacks.iter().enumerate() {
        for outcome in &evaluation.outcomes {
            let attacked = outcome.attacks.get(at).and_then(Option::as_ref);
            insert.execute(params![
                run as i64,
                outcome.index as i64,
                outcome.label,
                outcome.predicted,
                attack.name,
                attacked.is_some(),
                outcome.survives(at),
                attacked.and_then(|image| image.broken_by.as_deref()),
                attacked.and_then(|image| image.loss),
                attacked.map(|image| image.distance),
            ])?;
        }
    }
    Ok(())
}

fn insert_groups(transaction: &Transaction<'_>, run: usize, cut: &PrunedRow) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    let Some(first) = cut.rounds.first() else { return Ok(()) };
    for record in &first.groups {
        let group = &record.group;
        let kept = cut.plan.keep.get(&group.name).cloned().unwrap_or_else(|| (0..group.channels).collect());
        insert.execute(params![
            run as i64,
            group.name,
            group.channels as i64,
            kept.len() as i64,
            json(&kept),
            record.sensitivity,
            json(&record.scores),
            group.frozen,
        ])?;
    }
    Ok(())
}

/// A list as JSON. Lists of numbers and texts always have that form.
fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::sample::{sample, sample_with_a_failure};
    use crate::comparison::statistics::Statistics;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn written(
        findings: &Findings,
    ) -> std::result::Result<(tempfile::TempDir, Connection), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write_database(findings, &FlatTable::new(findings, &Statistics::of(findings)), folder.path())?;
        let database = Connection::open(folder.path().join(FILE))?;
        Ok((folder, database))
    }

    #[test]
    fn every_network_image_and_group_is_there() -> Outcome {
        let findings = sample_with_a_failure()?;
        let (_folder, database) = written(&findings)?;
        let count =
            |of: &str| database.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get::<_, i64>(0));
        assert_eq!(count("runs WHERE kind = 'dense'")?, 1);
        assert_eq!(count("runs WHERE kind = 'pruned'")?, 11);
        assert_eq!(
            count("runs WHERE kind = 'failed' AND failure LIKE '%memory ran out%' AND robust_accuracy IS NULL")?,
            1
        );
        assert_eq!(count("images")?, 12 * 150 * 2);
        assert_eq!(count("groups")?, 11 * 5);
        assert_eq!(count("sensitivities")?, 2 * 5);
        assert_eq!(count("failures")?, 1);
        // The images are those of the row that names them.
        let apart = "runs WHERE kind != 'failed' AND round(clean_accuracy * images) != (SELECT count(*) FROM images \
                     WHERE images.run = runs.run AND attack = 'pgd' AND label = predicted)";
        assert_eq!(count(apart)?, 0);
        let kept: String = database.query_row(
            "SELECT kept_channels FROM groups JOIN runs USING (run) WHERE name = ? AND channel_group = 'block2'",
            [&findings.pruned[3].row.name],
            |row| row.get(0),
        )?;
        assert_eq!(serde_json::from_str::<Vec<usize>>(&kept)?, findings.pruned[3].cut.plan.keep["block2"]);
        Ok(())
    }

    #[test]
    fn the_same_findings_give_the_same_content() -> Outcome {
        let [first, second] = [written(&sample()?)?, written(&sample()?)?];
        let bytes = |(folder, _): &(tempfile::TempDir, Connection)| std::fs::read(folder.path().join(FILE));
        assert_eq!(bytes(&first)?, bytes(&second)?);
        Ok(())
    }

    #[test]
    fn names_that_look_like_statements_are_names() -> Outcome {
        let mut findings = sample()?;
        let name = "a\"); DROP TABLE runs; --";
        findings.axes[0].setting = name.into();
        findings.axes[0].values.push("0.5'".into());
        for finding in &mut findings.pruned {
            finding.place.settings = [(name.to_owned(), "0.5'".to_owned())].into();
        }
        let (_folder, database) = written(&findings)?;
        let found: String =
            database.query_row(&format!("SELECT {} FROM runs WHERE run = 1", quoted(name)), [], |row| row.get(0))?;
        assert_eq!(found, "0.5'");
        Ok(())
    }
}
