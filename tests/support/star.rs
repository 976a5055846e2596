//! A star as sorted rows of text, and what differs between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
};
use arrow::temporal_conversions::{date32_to_datetime, time64us_to_time};
use futures::TryStreamExt;
use tidemill::warehouse::Warehouse;

/// How NULL is written: no text of the generator is this.
pub const NULL: &str = "∅";

/// The most rows of one table that a difference shows.
const SHOWN: usize = 5;

/// The current state of a star: what its tables hold, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Star {
    /// By name; facts without `_current`.
    pub tables: BTreeMap<String, Rows>,
}

/// Rows of one table as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names; the first is the business key.
    pub columns: Vec<String>,
    /// Sorted.
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    /// Rows of these columns, sorted.
    pub fn new(columns: Vec<String>, mut rows: Vec<Vec<String>>) -> Self {
        rows.sort();
        Self { columns, rows }
    }
}

impl Star {
    /// What `warehouse` holds in the tables and columns of `like`: dimensions themselves, of facts the
    /// `_current` view.
    ///
    /// # Errors
    /// When a table cannot be queried or has a type that a star does not have.
    pub async fn of_warehouse(warehouse: &dyn Warehouse, like: &Star) -> Result<Self> {
        let mut tables = BTreeMap::new();
        for (table, rows) in &like.tables {
            let view = if table.starts_with("fact_") {
                "_current"
            } else {
                ""
            };
            let sql = format!("SELECT {} FROM {table}{view}", rows.columns.join(", "));
            let found = query(warehouse, &sql).await?;
            tables.insert(table.clone(), Rows::new(rows.columns.clone(), found));
        }
        Ok(Self { tables })
    }

    /// Only its facts.
    pub fn facts(&self) -> Self {
        let facts = self
            .tables
            .iter()
            .filter(|(name, _)| name.starts_with("fact_"));
        Self {
            tables: facts
                .map(|(name, rows)| (name.clone(), rows.clone()))
                .collect(),
        }
    }

    /// What differs between this star, which is expected, and the one that was found; `None` if nothing.
    pub fn differences(&self, found: &Self) -> Option<String> {
        let mut text = String::new();
        let names: BTreeSet<&String> = self.tables.keys().chain(found.tables.keys()).collect();
        let nothing = Rows::default();
        for name in names {
            let expected = self.tables.get(name).unwrap_or(&nothing);
            let found = found.tables.get(name).unwrap_or(&nothing);
            write_differences(&mut text, name, expected, found);
        }
        (!text.is_empty()).then_some(text)
    }
}

/// The rows of a query as text, in the order in which they come.
///
/// # Errors
/// When the query fails or a type is not one of a star.
pub async fn query(warehouse: &dyn Warehouse, sql: &str) -> Result<Vec<Vec<String>>> {
    let (_, stream) = warehouse.query(sql).await.with_context(|| sql.to_owned())?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.with_context(|| sql.to_owned())?;
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| text_of(column, row));
            rows.push(values.collect::<Result<_>>()?);
        }
    }
    Ok(rows)
}

/// The text of one value, as the oracle's SQL writes it too.
fn text_of(column: &dyn Array, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok(NULL.into());
    }
    Ok(match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => column.as_string_view().value(row).to_owned(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Decimal128(_, _) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row);
            let date = date32_to_datetime(days).context("a date is out of range")?;
            date.date().to_string()
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let micros = column.as_primitive::<Time64MicrosecondType>().value(row);
            let time = time64us_to_time(micros).context("a time is out of range")?;
            trimmed(&time.format("%H:%M:%S%.6f").to_string())
        }
        other => bail!("{other} is not a type of a star"),
    })
}

/// A time without the zeros at the end of its fraction, as PostgreSQL writes it.
pub(crate) fn trimmed(time: &str) -> String {
    if !time.contains('.') {
        return time.to_owned();
    }
    time.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn write_differences(text: &mut String, table: &str, expected: &Rows, found: &Rows) {
    if expected == found {
        return;
    }
    let by_key = |rows: &Rows| -> BTreeMap<String, Vec<Vec<String>>> {
        let mut keys: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        for row in &rows.rows {
            keys.entry(row.first().cloned().unwrap_or_default())
                .or_default()
                .push(row.clone());
        }
        keys
    };
    let (wanted, got) = (by_key(expected), by_key(found));
    let keys: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
    let differing: Vec<&String> = keys
        .into_iter()
        .filter(|key| wanted.get(*key) != got.get(*key))
        .collect();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{table}: {} rows expected, {} found, {} keys differ",
        expected.rows.len(),
        found.rows.len(),
        differing.len()
    );
    let key = expected
        .columns
        .first()
        .or(found.columns.first())
        .map_or("", String::as_str);
    for value in differing.iter().take(SHOWN) {
        let said = said_of(&expected.columns, wanted.get(*value), got.get(*value));
        let _ = writeln!(text, "  {key} {value}: {said}");
    }
    if differing.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", differing.len() - SHOWN);
    }
}

fn said_of(
    columns: &[String],
    wanted: Option<&Vec<Vec<String>>>,
    got: Option<&Vec<Vec<String>>>,
) -> String {
    match (wanted.map(Vec::as_slice), got.map(Vec::as_slice)) {
        (Some([wanted]), Some([got])) => columns
            .iter()
            .zip(wanted.iter().zip(got))
            .filter(|(_, (wanted, got))| wanted != got)
            .map(|(column, (wanted, got))| format!("{column} is {got}, expected {wanted}"))
            .collect::<Vec<_>>()
            .join("; "),
        (Some(wanted), None) => format!("missing: {}", wanted.concat().join(" | ")),
        (None, Some(got)) => format!("unexpected: {}", got.concat().join(" | ")),
        (wanted, got) => format!(
            "{} times, expected {}",
            got.map_or(0, <[_]>::len),
            wanted.map_or(0, <[_]>::len)
        ),
    }
}
