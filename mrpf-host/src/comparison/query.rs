//! Questions about the networks of a comparison, answered from its `results.sqlite`.

use mrpf_api::{Context, Error, ErrorKind, Result};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::path::Path;

use super::database::{FILE, quoted};
use super::digests::check_digest;
use super::tables::{FlatColumn, FlatTable, Kind, Value};
use crate::files::{failed, read_regular};

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `COLUMN=VALUE`, or `!=`, `<`, `<=`, `>`, `>=`; all of them hold for the rows that are given. An empty value is that of rows that
    /// have none.
    pub conditions: Vec<String>,
    /// `COLUMN` or `COLUMN:desc`; rows without a value come last. The order of the comparison where it is not given.
    pub sort: Option<String>,
    /// The columns in their order; all when empty.
    pub columns: Vec<String>,
}

/// The networks of the comparison in `directory` that the query asks for.
///
/// # Errors
/// [`ErrorKind::Io`] if there is no comparison, or its database cannot be read; [`ErrorKind::UnknownName`] for a column that it does
/// not have, with the nearest; [`ErrorKind::Settings`] for a condition or an order that cannot be read.
pub fn runs(directory: &Path, query: &Query) -> Result<FlatTable> {
    let path = directory.join(FILE);
    if !path.is_file() {
        let error = Error::new(ErrorKind::Io, format!("there is no {FILE} in {}", directory.display()));
        return Err(error.hint("name the directory of a comparison; `mrpf compare` writes it at its end"));
    }
    let refused = |error: rusqlite::Error| {
        Error::new(ErrorKind::Io, format!("{} cannot be read: {error}", path.display()))
            .hint("`mrpf compare` writes it anew from what the comparison has computed")
    };
    let bytes = read_regular(&path).map_err(|error| failed("read", &path, &error))?;
    check_digest(directory, FILE, &bytes)?;
    let database = opened(bytes).map_err(refused)?;
    if !has_table(&database).map_err(refused)? {
        let message = format!("{} has no plain table `runs`: `mrpf compare` has not made it", path.display());
        return Err(Error::new(ErrorKind::Io, message).hint("name the directory of a comparison"));
    }
    let known = columns(&database).map_err(refused)?;
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    for condition in &query.conditions {
        let (statement, value) = condition_of(condition, &known).context(|| format!("--where {condition}"))?;
        conditions.push(statement);
        values.push(value);
    }
    let order = match &query.sort {
        None => "run".into(),
        Some(sort) => order_of(sort, &known).context(|| format!("--sort {sort}"))?,
    };
    let chosen = match query.columns.is_empty() {
        true => known.clone(),
        false => {
            let find = |name: &String| column(name.trim(), &known).cloned();
            query.columns.iter().map(find).collect::<Result<Vec<_>>>().context(|| "--columns".into())?
        }
    };
    let names: Vec<String> = chosen.iter().map(|column| quoted(&column.name)).collect();
    let conditions = if conditions.is_empty() { "TRUE".into() } else { conditions.join(" AND ") };
    let statement = format!("SELECT {} FROM runs WHERE {conditions} ORDER BY {order}", names.join(", "));
    let rows = rows(&database, &statement, &values, chosen.len()).map_err(refused)?;
    Ok(FlatTable { columns: chosen, rows })
}

/// The database in memory, where nothing can change it. From its file, SQLite would not open it below very deep folders.
fn opened(mut bytes: Vec<u8>) -> rusqlite::Result<Connection> {
    // A database that somebody has changed with a log beside it says so in its header; the log is not read, and not needed.
    if bytes.get(18..20) == Some(&[2, 2]) {
        bytes[18..20].copy_from_slice(&[1, 1]);
    }
    let mut database = Connection::open_in_memory()?;
    database.deserialize_read_exact(rusqlite::MAIN_DB, bytes.as_slice(), bytes.len(), true)?;
    database.pragma_update(None, "trusted_schema", false)?;
    Ok(database)
}

/// Whether `runs` is a table of rows. A view or a virtual table under that name would compute whatever its author wrote, for ever.
fn has_table(database: &Connection) -> rusqlite::Result<bool> {
    let plain = "SELECT count(*) FROM pragma_table_list('runs') WHERE schema = 'main' AND type = 'table'";
    database.query_row(plain, [], |row| Ok(row.get::<_, i64>(0)? == 1))
}

fn columns(database: &Connection) -> rusqlite::Result<Vec<FlatColumn>> {
    let mut statement = database.prepare("SELECT name, type FROM pragma_table_info('runs')")?;
    let column = |row: &rusqlite::Row<'_>| {
        let kind = match row.get::<_, String>(1)?.as_str() {
            "INTEGER" => Kind::Integer,
            "REAL" => Kind::Real,
            _ => Kind::Text,
        };
        Ok(FlatColumn { name: row.get(0)?, kind })
    };
    statement.query_map([], column)?.collect()
}

/// The column of that name, or the only one whose path ends with it.
fn column<'a>(name: &str, known: &'a [FlatColumn]) -> Result<&'a FlatColumn> {
    if let Some(found) = known.iter().find(|column| column.name == name) {
        return Ok(found);
    }
    let mut ends = known.iter().filter(|column| column.name.rsplit_once('.').is_some_and(|(_, last)| last == name));
    match (ends.next(), ends.next()) {
        (Some(found), None) => Ok(found),
        _ => Err(Error::unknown_name("column", name, known.iter().map(|column| column.name.as_str()))),
    }
}

/// What a value may be asked to be; those that begin with another one stand before it.
const RELATIONS: [(&str, &str); 6] =
    [("!=", "IS NOT"), ("<=", "<="), (">=", ">="), ("=", "IS"), ("<", "<"), (">", ">")];

/// The part of a statement, and the value that belongs into it.
fn condition_of(condition: &str, known: &[FlatColumn]) -> Result<(String, Value)> {
    let first = RELATIONS.iter().filter_map(|relation| Some((condition.find(relation.0)?, relation)));
    let Some((at, (sign, relation))) = first.min_by_key(|(at, _)| *at) else {
        let message =
            format!("found `{condition}`, expected COLUMN=VALUE such as method=l1-norm-uniform, or <, >, <=, >=, !=");
        return Err(Error::new(ErrorKind::Settings, message));
    };
    let (column, value) = (column(condition[..at].trim(), known)?, condition[at + sign.len()..].trim());
    let statement = format!("{} {relation} ?", quoted(&column.name));
    let value = match (value, column.kind) {
        ("", _) if ["=", "!="].contains(sign) => Value::Null,
        (_, Kind::Text) => Value::Text(value.into()),
        // Whole numbers and others compare by what they are worth.
        (_, Kind::Integer | Kind::Real) => match value.parse::<i64>() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Real(value.parse().map_err(|_| {
                Error::new(
                    ErrorKind::Settings,
                    format!("found `{value}`, expected a number: `{}` holds numbers", column.name),
                )
            })?),
        },
    };
    Ok((statement, value))
}

fn order_of(sort: &str, known: &[FlatColumn]) -> Result<String> {
    let (name, direction) = match sort.rsplit_once(':') {
        Some((name, "desc")) => (name, "DESC"),
        Some((name, "asc")) => (name, "ASC"),
        Some((_, other)) if !known.iter().any(|column| column.name == sort) => {
            let message = format!("found `:{other}`, expected `:desc`, `:asc` or nothing behind the column");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        _ => (sort, "ASC"),
    };
    // Equal rows stand in the order of the comparison.
    Ok(format!("{} {direction} NULLS LAST, run", quoted(&column(name.trim(), known)?.name)))
}

fn rows(database: &Connection, statement: &str, values: &[Value], columns: usize) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut statement = database.prepare(statement)?;
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| Ok(value(row.get_ref(at)?))).collect();
    statement.query_map(rusqlite::params_from_iter(values), row)?.collect()
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::sample::sample_with_a_failure;
    use crate::comparison::tables::write_results;

    fn asked(conditions: &[&str], sort: Option<&str>, columns: &[&str]) -> Result<FlatTable> {
        let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        write_results(&sample_with_a_failure()?, folder.path())?;
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let query = Query { conditions: owned(conditions), sort: sort.map(str::to_owned), columns: owned(columns) };
        runs(folder.path(), &query)
    }

    #[test]
    fn rows_are_chosen_sorted_and_cut_to_columns() -> Result<()> {
        let found = asked(
            &["prune.ratio=0.50", "kind=pruned", "seed=2"],
            Some("robust_accuracy:desc"),
            &["method", "robust_accuracy"],
        )?;
        let methods: Vec<_> = found.rows.iter().map(|row| row[0].clone()).collect();
        assert_eq!(
            found.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            ["method", "robust_accuracy"]
        );
        assert_eq!(methods.len(), 3);
        assert_eq!(methods[2], Value::Text("random-uniform".into()));
        Ok(())
    }

    #[test]
    fn conditions_compare_numbers_and_take_the_end_of_a_path() -> Result<()> {
        let count = |conditions: &[&str]| asked(conditions, None, &[]).map(|found| found.rows.len());
        let pruned = count(&["kind=pruned"])?;
        assert_eq!(count(&["kind=pruned", "ratio=0.5"])?, count(&["kind=pruned", "prune.ratio = 0.5"])?);
        assert_eq!(count(&["kind=pruned", "ratio!=0.5"])?, pruned - count(&["kind=pruned", "ratio=0.5"])?);
        let shares =
            ["robust_accuracy<0.4", "robust_accuracy>=0.4"].map(|condition| count(&["kind=pruned", condition]));
        let [below, above] = shares;
        let (below, above) = (below?, above?);
        assert!(below > 0 && above > 0 && below + above == pruned, "{below} {above} {pruned}");
        assert_eq!(count(&["seed<=1"])? + count(&["seed>1"])?, count(&["seed!="])?);
        Ok(())
    }

    #[test]
    fn rows_without_a_value_come_last_and_can_be_asked_for() -> Result<()> {
        for sort in ["robust_accuracy", "robust_accuracy:desc", "robust_accuracy:asc"] {
            let found = asked(&[], Some(sort), &["kind", "robust_accuracy"])?;
            assert_eq!(found.rows.len(), 13);
            assert_eq!(found.rows[12], [Value::Text("failed".into()), Value::Null], "{sort}");
        }
        assert_eq!(asked(&["robust_accuracy="], None, &["kind"])?.rows, [[Value::Text("failed".into())]]);
        assert_eq!(asked(&["failure="], None, &[])?.rows.len(), 12);
        Ok(())
    }

    #[test]
    fn what_cannot_be_asked_is_answered() -> Result<()> {
        for (conditions, sort, columns, message, hint) in [
            (&["methd=a"][..], None, &[][..], "--where methd=a: unknown column `methd`", "did you mean `method`?"),
            (&["method"], None, &[], "expected COLUMN=VALUE", ""),
            (&["seed=one"], None, &[], "found `one`, expected a number", ""),
            (&[], Some("mac"), &[], "--sort mac: unknown column `mac`", "did you mean `macs`?"),
            (&[], Some("macs:down"), &[], "found `:down`", ""),
            (&[], None, &["nmae"], "--columns: unknown column `nmae`", "did you mean `name`?"),
            (&["seed=1 OR 1=1"], None, &[], "expected a number", ""),
        ] {
            let error = asked(conditions, sort, columns).map(drop).expect_err(message);
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.hint_text().unwrap_or_default().contains(hint), "{:?}", error.hint_text());
        }
        Ok(())
    }

    #[test]
    fn a_view_that_never_ends_is_refused() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS run FROM n";
        for made in [format!("CREATE VIEW runs AS {endless}"), "CREATE TABLE other (run INTEGER)".into()] {
            let folder = tempfile::tempdir()?;
            Connection::open(folder.path().join(FILE))?.execute_batch(&made)?;
            let error = runs(folder.path(), &Query::default()).expect_err("no table");
            assert!(error.to_string().contains("has no plain table `runs`"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn a_database_is_read_below_very_deep_folders_and_with_a_log() -> std::result::Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        // SQLite itself opens no path of more than 512 bytes.
        let deep = (0..6).fold(folder.path().to_owned(), |path, _| path.join("d".repeat(200)));
        std::fs::create_dir_all(&deep)?;
        write_results(&sample_with_a_failure()?, folder.path())?;
        write_results(&sample_with_a_failure()?, &deep)?;
        let expected = runs(folder.path(), &Query::default())?.rows;
        assert_eq!(runs(&deep, &Query::default())?.rows, expected);
        let database = Connection::open(folder.path().join(FILE))?;
        database.pragma_update(None, "journal_mode", "wal")?;
        drop(database);
        assert_eq!(runs(folder.path(), &Query::default())?.rows, expected);
        Ok(())
    }

    #[test]
    fn a_directory_without_results_and_a_file_that_is_none() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let error = runs(folder.path(), &Query::default()).expect_err("nothing there");
        assert!(error.to_string().contains("there is no results.sqlite"), "{error}");
        std::fs::write(folder.path().join(FILE), "no database")?;
        let error = runs(folder.path(), &Query::default()).expect_err("no database");
        assert!(error.to_string().contains("cannot be read: file is not a database"), "{error}");
        Ok(())
    }
}
