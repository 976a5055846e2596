//! Rows under a list of columns, both ways.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use serde_json::value::RawValue;

use crate::value;

/// Rows as a batch of the declared schema.
pub(crate) fn read(
    place: &str,
    columns: &[String],
    rows: &[Vec<Box<RawValue>>],
    schema: &SchemaRef,
) -> Result<RecordBatch, String> {
    let known = |name: &&String| schema.fields().iter().any(|field| field.name() == *name);
    if let Some(stranger) = columns.iter().find(|name| !known(name)) {
        let all: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let all = all.join(", ");
        return Err(format!(
            "{place}: the module declares no column {stranger}; it declares {all}"
        ));
    }
    for (number, row) in (1..).zip(rows) {
        if row.len() != columns.len() {
            return Err(format!(
                "{place}, row {number}: it has {} values under {} columns",
                row.len(),
                columns.len()
            ));
        }
    }
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for field in schema.fields() {
        let name = field.name();
        let mut places = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| *column == name);
        let (Some((at, _)), None) = (places.next(), places.next()) else {
            let times = if columns.contains(name) {
                "comes twice"
            } else {
                "is missing"
            };
            return Err(format!("{place}: the column {name} {times}"));
        };
        let cells: Vec<&str> = rows
            .iter()
            .map(|row| row.get(at).map_or("null", |cell| cell.get()))
            .collect();
        let column = value::column(field, &cells).map_err(|fault| {
            format!(
                "{place}, row {}, column {name}: {}",
                fault.row + 1,
                fault.message
            )
        })?;
        arrays.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
        .map_err(|error| format!("{place}: {error}"))
}

/// A batch of rows whose values are JSON, one for each column of the schema.
///
/// # Errors
/// The first value that is none of its column.
pub fn batch(schema: &SchemaRef, rows: &[Vec<String>]) -> Result<RecordBatch, value::Fault> {
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        let cells = rows
            .iter()
            .map(|row| row.get(at).map_or("null", String::as_str));
        arrays.push(value::column(field, &cells.collect::<Vec<_>>())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(|error| {
        value::Fault {
            row: 0,
            message: error.to_string(),
        }
    })
}

/// Every row of a batch, each value as JSON.
pub fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    (0..batch.num_rows())
        .map(|row| {
            let columns = batch.columns().iter();
            columns.map(|column| value::json(column, row)).collect()
        })
        .collect()
}

/// The names of its columns.
pub(crate) fn names(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    schema.fields().iter().map(|f| f.name().clone()).collect()
}
