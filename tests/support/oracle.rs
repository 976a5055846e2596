//! The oracle: the star that a totesys implies, by plain SQL on the source, without any of the modules.
//!
//! Written from the description of both databases, not from the modules; two scripts are all there is to check
//! by eye: the one beside this file, and the one for SQLite, by which the demo checks itself as well.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use chrono::{Datelike, NaiveDate};
use rusqlite::types::ValueRef;
use tidemill::warehouse::Warehouse;

use super::postgres::connect;
use super::star::{NULL, Rows, Star, query};

const SQLITE: &str = include_str!("../../host/src/demo/sql/star_of_sqlite.sql");
const POSTGRES: &str = include_str!("oracle/postgres.sql");

/// The star that the totesys at `url` implies. dim_date is not in it: see [`check_dates`].
///
/// # Errors
/// When the source cannot be read.
pub async fn expected(url: &str) -> Result<Star> {
    expected_of(url, |_| true).await
}

/// Those tables of the star that are `wanted`: for a totesys that does not have all of its columns any more.
///
/// # Errors
/// When the source cannot be read.
pub async fn expected_of(url: &str, wanted: impl Fn(&str) -> bool) -> Result<Star> {
    match url.strip_prefix("sqlite://") {
        Some(path) => of_sqlite(path, wanted),
        None => of_postgres(url, wanted).await,
    }
}

/// Fails, with what differs, unless `warehouse` holds exactly the star that the totesys at `url` implies.
///
/// # Errors
/// The differences, or what could not be read.
pub async fn check(url: &str, warehouse: &dyn Warehouse) -> Result<()> {
    let expected = expected(url).await?;
    let found = Star::of_warehouse(warehouse, &expected).await?;
    if let Some(differences) = expected.differences(&found) {
        anyhow::bail!("the star is not what {url} implies:\n{differences}");
    }
    check_dates(warehouse, &expected).await
}

/// Fails unless dim_date has every date of every fact of `star`, and every row of it is right. How far it
/// goes beyond is the module's choice.
///
/// # Errors
/// The first dates that are missing or wrong.
pub async fn check_dates(warehouse: &dyn Warehouse, star: &Star) -> Result<()> {
    let sql = "SELECT date_id, year, month, day, day_of_week, day_name, month_name, quarter FROM dim_date";
    let mut present = BTreeSet::new();
    for row in query(warehouse, sql).await? {
        let date = row.first().cloned().unwrap_or_default();
        let right = date_row(&date).with_context(|| format!("{date} is no date"))?;
        ensure!(row == right, "dim_date holds {row:?}, expected {right:?}");
        ensure!(present.insert(date.clone()), "dim_date holds {date} twice");
    }
    let missing: Vec<String> = dates_of(star)
        .difference(&present)
        .take(5)
        .cloned()
        .collect();
    ensure!(missing.is_empty(), "dim_date lacks {}", missing.join(", "));
    Ok(())
}

/// Every date in a fact.
fn dates_of(star: &Star) -> BTreeSet<String> {
    let facts = star
        .tables
        .iter()
        .filter(|(name, _)| name.starts_with("fact_"));
    facts
        .flat_map(|(_, rows)| {
            let is_date: Vec<bool> = rows.columns.iter().map(|c| c.ends_with("_date")).collect();
            rows.rows.iter().flat_map(move |row| {
                let dates = row
                    .iter()
                    .zip(is_date.clone())
                    .filter(|(_, is_date)| *is_date);
                dates.map(|(value, _)| value.clone()).collect::<Vec<_>>()
            })
        })
        .collect()
}

fn date_row(text: &str) -> Option<Vec<String>> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(vec![
        text.to_owned(),
        date.year().to_string(),
        date.month().to_string(),
        date.day().to_string(),
        date.weekday().number_from_monday().to_string(),
        date.format("%A").to_string(),
        date.format("%B").to_string(),
        date.month().div_ceil(3).to_string(),
    ])
}

/// The statements of a script by the name in the comment before each.
fn statements(script: &str) -> impl Iterator<Item = (&str, &str)> {
    script
        .split("\n\n-- ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, sql)| (name.trim(), sql.trim().trim_end_matches(';')))
}

fn of_sqlite(path: &str, wanted: impl Fn(&str) -> bool) -> Result<Star> {
    let connection = rusqlite::Connection::open(path).with_context(|| path.to_owned())?;
    let mut tables = BTreeMap::new();
    for (name, sql) in statements(SQLITE).filter(|(name, _)| wanted(name)) {
        let mut statement = connection.prepare(sql).with_context(|| name.to_owned())?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..columns.len()).map(|place| Ok(text_of(row.get_ref(place)?)));
            rows.push(values.collect::<Result<Vec<String>>>()?);
        }
        tables.insert(name.to_owned(), Rows::new(columns, rows));
    }
    Ok(Star { tables })
}

fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => NULL.into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}

async fn of_postgres(url: &str, wanted: impl Fn(&str) -> bool) -> Result<Star> {
    let client = connect(url).await?;
    // All tables as of one moment.
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let mut tables = BTreeMap::new();
    for (name, sql) in statements(POSTGRES).filter(|(name, _)| wanted(name)) {
        let statement = client.prepare(sql).await.with_context(|| name.to_owned())?;
        let columns: Vec<String> = statement
            .columns()
            .iter()
            .map(|c| c.name().to_owned())
            .collect();
        let as_text: Vec<String> = columns
            .iter()
            .map(|column| format!("q.{column}::text"))
            .collect();
        let sql = format!("SELECT {} FROM ({sql}) q", as_text.join(", "));
        let mut rows = Vec::new();
        for row in client
            .query(&sql, &[])
            .await
            .with_context(|| name.to_owned())?
        {
            let values = (0..columns.len()).map(|place| row.try_get::<_, Option<String>>(place));
            let values: Vec<Option<String>> = values.collect::<Result<_, _>>()?;
            rows.push(
                values
                    .into_iter()
                    .map(|value| value.unwrap_or_else(|| NULL.into()))
                    .collect(),
            );
        }
        tables.insert(name.to_owned(), Rows::new(columns, rows));
    }
    client.batch_execute("COMMIT").await?;
    Ok(Star { tables })
}
