//! Rows for a module to work on: as many as asked for, of values like those of totesys, the same every time.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use tidemill::contract::{Input, Role};

/// Rows of a table that is looked up: as many as totesys has staff, counterparties and addresses.
const LOOKUP_ROWS: usize = 20;
/// Where the keys of looked-up tables begin when no row shall find one.
const ELSEWHERE: usize = 1_000;
/// Names, towns and other texts that are not all different.
const TEXTS: usize = 5_000;
/// 2024-01-02T09:00:00Z, a working day.
const MORNING_MICROS: i64 = 1_704_186_000_000_000;

/// Where the rows of a batch are when it is given to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// In the processor's cache, as in a run, where a batch has just been taken from Parquet: all batches share their
    /// columns but for the key.
    Cached,
    /// In memory: every batch has columns of its own. Whoever reads a column first then pays for bringing it, which is
    /// the encoder for the sandbox, and natively nobody for a column that is passed on.
    Remote,
}

/// The rows of an input, in batches of `batch_rows`.
///
/// With `matched`, every row finds a row in every table that is looked up; without, none does.
pub(crate) fn batches(
    input: &Input,
    rows: usize,
    batch_rows: usize,
    matched: bool,
    place: Rows,
) -> Result<Vec<RecordBatch>> {
    let (rows, first_key) = match input.role {
        Role::Streamed => (rows, 1),
        Role::Lookup if matched => (LOOKUP_ROWS, 1),
        Role::Lookup => (LOOKUP_ROWS, ELSEWHERE),
    };
    let shares = |field: &Field| place == Rows::Cached && !input.key.contains(field.name());
    let fields = input.schema.fields().iter();
    let columns = fields.map(|field| {
        let rows = match shares(field) {
            true => batch_rows.min(rows),
            false => rows,
        };
        let is_key = input.key.contains(field.name());
        column(field, rows, is_key.then_some(first_key))
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let batch = |start: usize| {
        let rows = batch_rows.min(rows - start);
        let fields = input.schema.fields().iter();
        let columns = fields.zip(&columns).map(|(field, column)| {
            let start = if shares(field) { 0 } else { start };
            column.slice(start, rows)
        });
        Ok(RecordBatch::try_new(
            input.schema.clone(),
            columns.collect(),
        )?)
    };
    (0..rows).step_by(batch_rows).map(batch).collect()
}

fn column(field: &Field, rows: usize, first_key: Option<usize>) -> Result<ArrayRef> {
    let name = field.name().as_str();
    Ok(match field.data_type() {
        DataType::Int32 => {
            let value = |row: usize| match first_key {
                Some(first) => (first + row) as i32,
                None => (row % LOOKUP_ROWS + 1) as i32,
            };
            Arc::new(Int32Array::from_iter_values((0..rows).map(value)))
        }
        DataType::Utf8 => {
            let texts = (0..rows).map(|row| text(name, row));
            Arc::new(StringArray::from_iter_values(texts))
        }
        DataType::Boolean => {
            let values: Vec<bool> = (0..rows).map(|row| row % 3 == 0).collect();
            Arc::new(BooleanArray::from(values))
        }
        DataType::Decimal128(digits, after_point) => {
            let values = (0..rows).map(|row| 200 + (row % 200) as i128);
            let values = Decimal128Array::from_iter_values(values);
            Arc::new(values.with_precision_and_scale(*digits, *after_point)?)
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let values = (0..rows).map(|row| MORNING_MICROS + row as i64 * 1_000);
            Arc::new(TimestampMicrosecondArray::from_iter_values(values))
        }
        other => bail!("no values of type {other} are made for {name}"),
    })
}

fn text(name: &str, row: usize) -> String {
    if name == "currency_code" {
        let code = match row % 3 {
            0 => "GBP",
            1 => "USD",
            _ => "EUR",
        };
        return code.to_owned();
    }
    if name.ends_with("_date") {
        return format!("2024-{:02}-{:02}", row % 12 + 1, row % 28 + 1);
    }
    format!("{name} {}", row % TEXTS)
}
