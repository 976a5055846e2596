//! Whether the star is what the source implies: by plain SQL on both sides, without a module in between.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use rusqlite::types::ValueRef;

use super::super::DemoError;
use crate::error::{Classify, ErrorKind};
use crate::pipeline::Pipeline;

/// One statement per table of the star, each after its name; the first column is the key.
const STAR: &str = include_str!("../sql/star_of_sqlite.sql");

/// How NULL is written on both sides, so that it is no empty text.
const NULL: &str = "∅";

/// The star is not what the source implies.
#[derive(Debug, thiserror::Error)]
#[error("{table} is not what the source implies: {what}")]
pub struct Inexact {
    table: String,
    what: String,
}

impl Classify for Inexact {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Bug
    }

    fn hint(&self) -> Option<String> {
        Some("report it with the command that was run".into())
    }
}

/// The rows of a table, counted and digested in the order of their keys.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    rows: u64,
    digest: blake3::Hash,
}

/// Compares every row of every table; gives the rows by table. dim_date has no source to compare with.
///
/// # Errors
/// [`Inexact`] with the first table that differs.
pub(super) async fn compare(
    database: &str,
    pipeline: &Pipeline,
) -> crate::Result<BTreeMap<String, u64>> {
    let mut compared = BTreeMap::new();
    for (table, columns, implied) in implied(database)? {
        let found = loaded(pipeline, &table, &columns).await?;
        if found != implied {
            let what = match found.rows == implied.rows {
                true => format!("values differ in its {} rows", found.rows),
                false => format!("it has {} rows instead of {}", found.rows, implied.rows),
            };
            return Err(Inexact { table, what }.into());
        }
        compared.insert(table, found.rows);
    }
    Ok(compared)
}

fn implied(database: &str) -> Result<Vec<(String, Vec<String>, Sum)>, DemoError> {
    let failed = |cause| DemoError::Sqlite {
        path: database.into(),
        action: "read its rows",
        cause,
    };
    let connection = rusqlite::Connection::open(database).map_err(failed)?;
    let statements = STAR
        .split("\n\n-- ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'));
    statements
        .map(|(table, sql)| {
            let sql = format!(
                "SELECT * FROM ({}) ORDER BY 1",
                sql.trim().trim_end_matches(';')
            );
            let (columns, sum) = sum_of(&connection, &sql)?;
            Ok((table.trim().to_owned(), columns, sum))
        })
        .collect::<rusqlite::Result<_>>()
        .map_err(failed)
}

fn sum_of(connection: &rusqlite::Connection, sql: &str) -> rusqlite::Result<(Vec<String>, Sum)> {
    let mut statement = connection.prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([])?;
    let mut rows = 0;
    let mut hasher = blake3::Hasher::new();
    while let Some(row) = found.next()? {
        rows += 1;
        for place in 0..columns.len() {
            let text = match row.get_ref(place)? {
                ValueRef::Null => NULL.into(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    String::from_utf8_lossy(bytes).into_owned()
                }
            };
            add(&mut hasher, &text);
        }
    }
    let digest = hasher.finalize();
    Ok((columns, Sum { rows, digest }))
}

async fn loaded(pipeline: &Pipeline, table: &str, columns: &[String]) -> crate::Result<Sum> {
    let view = if table.starts_with("fact_") {
        "_current"
    } else {
        ""
    };
    let key = columns.first().map_or("1", String::as_str);
    let sql = format!(
        "SELECT {} FROM {table}{view} ORDER BY {key}",
        columns.join(", ")
    );
    let (_, mut batches) = pipeline.query(&sql).await?;
    let options = FormatOptions::default().with_null(NULL);
    let mut rows = 0;
    let mut hasher = blake3::Hasher::new();
    while let Some(batch) = batches.try_next().await? {
        let unreadable = |cause: arrow::error::ArrowError| Inexact {
            table: table.into(),
            what: format!("it cannot be read: {cause}"),
        };
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        for row in 0..batch.num_rows() {
            rows += 1;
            for (formatter, column) in formatters.iter().zip(batch.columns()) {
                let text = formatter.value(row).try_to_string().map_err(unreadable)?;
                match column.data_type() {
                    DataType::Time64(_) => add(&mut hasher, without_zeros(&text)),
                    _ => add(&mut hasher, &text),
                }
            }
        }
    }
    let digest = hasher.finalize();
    Ok(Sum { rows, digest })
}

/// Adds a value so that no two rows run together.
fn add(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// A time without the zeros at the end of its fraction.
fn without_zeros(time: &str) -> &str {
    match time.contains('.') {
        true => time.trim_end_matches('0').trim_end_matches('.'),
        false => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_zeros_of_the_fraction_are_left_out() {
        let written = ["14:20:50", "14:20:50.500", "10:00:00.000"].map(without_zeros);
        assert_eq!(written, ["14:20:50", "14:20:50.5", "10:00:00"]);
    }

    #[tokio::test]
    async fn the_source_implies_ten_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("totesys.sqlite").display().to_string();
        let options = crate::demo::Options {
            history_days: 2,
            ..Default::default()
        };
        let url = format!("sqlite://{path}");
        crate::demo::generate(&url, options, 0, &mut |_| {})
            .await
            .expect("a totesys");
        let implied = implied(&path).expect("it can be read");
        assert_eq!(implied.len(), 10);
        let staff = implied
            .iter()
            .find(|(table, _, _)| table == "dim_staff")
            .expect("dim_staff");
        assert_eq!(staff.2.rows, 20);
    }
}
