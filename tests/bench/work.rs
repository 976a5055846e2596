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

/// The rows of an input, in batches of `batch_rows`.
///
/// With `matched`, every row finds a row in every table that is looked up; without, none does.
pub(crate) fn batches(
    input: &Input,
    rows: usize,
    batch_rows: usize,
    matched: bool,
) -> Result<Vec<RecordBatch>> {
    let (rows, first_key) = match input.role {
        Role::Streamed => (rows, 1),
        Role::Lookup if matched => (LOOKUP_ROWS, 1),
        Role::Lookup => (LOOKUP_ROWS, ELSEWHERE),
    };
    let columns = input.schema.fields().iter().map(|field| {
        let is_key = input.key.contains(field.name());
        column(field, rows, is_key.then_some(first_key))
    });
    let batch = RecordBatch::try_new(input.schema.clone(), columns.collect::<Result<_>>()?)?;
    let starts = (0..rows).step_by(batch_rows);
    Ok(starts
        .map(|start| batch.slice(start, batch_rows.min(rows - start)))
        .collect())
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
