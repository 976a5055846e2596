//! Reads the rows of a table page by page.
//!
//! A page is one short query that goes on behind the last row of the page before. What a cursor selects is
//! decided here and not in SQL: times are texts in SQLite, and texts of one moment differ.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::{StreamExt, TryStreamExt};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::super::{BatchStream, Selection, SourceError};
use super::catalog::{self, Paging};
use super::value::Column;
use super::{Queue, failed};
use crate::table::Table;
use crate::watermark::CursorValue;

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 8_192;

/// Bytes of texts and blobs after which a batch is cut although it has fewer rows.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// An identifier as SQL.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A column as SQL. The table is named because SQLite takes a lone name that is no column for a text.
fn field(name: &str) -> String {
    format!("t.{}", quote(name))
}

/// Opens the stream of the rows of `table` that `selection` names.
pub(super) async fn open(
    queue: Queue,
    table: &Table,
    selection: &Selection,
) -> Result<BatchStream, SourceError> {
    let wanted = match selection {
        Selection::All => None,
        Selection::SinceCursor { column, from } => Some((column.clone(), from.clone())),
        Selection::SinceTransaction { .. } => {
            return Err(SourceError::Refused {
                target: queue.target.clone(),
                action: format!("tell what changed in table {}", table.name),
                cause: "SQLite does not record which transaction wrote a row".into(),
                hint: Some("compare the whole table".into()),
            });
        }
    };
    let pages = pages(queue, table).await?;
    let Some((column, from)) = wanted else {
        return Ok(pages);
    };
    Ok(pages
        .and_then(move |batch| {
            let selected = select(&batch, &column, &from);
            async move { selected }
        })
        .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
        .boxed())
}

/// The highest value up to `limit` of the only column of `table`.
pub(super) async fn highest(
    queue: Queue,
    table: &Table,
    limit: i64,
) -> Result<Option<i64>, SourceError> {
    let mut pages = pages(queue, table).await?;
    let mut highest = None;
    while let Some(batch) = pages.try_next().await? {
        let values = batch.columns().first().and_then(numbers);
        let page = values
            .into_iter()
            .flatten()
            .flatten()
            .filter(|n| *n <= limit)
            .max();
        highest = highest.max(page);
    }
    Ok(highest)
}

/// Keeps the rows whose `column` is `from` or later, or NULL.
fn select(
    batch: &RecordBatch,
    column: &str,
    from: &CursorValue,
) -> Result<RecordBatch, SourceError> {
    let (CursorValue::Integer(from)
    | CursorValue::Timestamp(from)
    | CursorValue::TimestampTz(from)) = *from;
    let unusable = || SourceError::Value {
        column: column.to_owned(),
        value: "values without an order".into(),
        expected: "cursor".into(),
    };
    let values = batch
        .column_by_name(column)
        .and_then(numbers)
        .ok_or_else(unusable)?;
    let mask: BooleanArray = values
        .into_iter()
        .map(|value| Some(value.is_none_or(|value| value >= from)))
        .collect();
    filter_record_batch(batch, &mask).map_err(|_| unusable())
}

/// The values of a column that a cursor can be made of.
fn numbers(array: &Arc<dyn Array>) -> Option<Vec<Option<i64>>> {
    fn widened<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array) -> Vec<Option<i64>> {
        let values = array.as_primitive::<T>().iter();
        values.map(|value| value.map(Into::into)).collect()
    }
    Some(match array.data_type() {
        DataType::Int16 => widened::<Int16Type>(array),
        DataType::Int32 => widened::<Int32Type>(array),
        DataType::Int64 => widened::<Int64Type>(array),
        DataType::Timestamp(..) => widened::<TimestampMicrosecondType>(array),
        _ => return None,
    })
}

/// All rows of `table`.
async fn pages(queue: Queue, table: &Table) -> Result<BatchStream, SourceError> {
    let name = table.name.clone();
    let target = queue.target.clone();
    let paging = queue
        .run(move |connection| {
            catalog::find(connection, &name)
                .map_err(|error| failed(&target, format!("read table {name}"), error))?
                .map(|listed| listed.paging)
                .ok_or(SourceError::NoTable(name))
        })
        .await?;
    let first = Page {
        table: Arc::new(table.clone()),
        target: queue.target.clone(),
        place: Place::Start,
        paging,
    };
    let pages = futures::stream::try_unfold(Some(first), move |page| {
        let queue = queue.clone();
        async move {
            let Some(page) = page else {
                return Ok(None);
            };
            let (batch, next) = queue.run(move |connection| page.read(connection)).await?;
            Ok((batch.num_rows() > 0).then_some((batch, next)))
        }
    });
    Ok(pages.boxed())
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// At the first row.
    Start,
    /// Behind the row with this number or key.
    Behind(Vec<Value>),
    /// Behind so many rows.
    Position(i64),
}

/// A page that is to be read.
struct Page {
    table: Arc<Table>,
    target: String,
    paging: Paging,
    place: Place,
}

impl Page {
    /// Reads the page, and says which one follows.
    fn read(self, connection: &Connection) -> Result<(RecordBatch, Option<Self>), SourceError> {
        let action = || format!("read table {}", self.table.name);
        let refused = |error| failed(&self.target, action(), error);
        let schema = self.table.schema();
        let mut columns: Vec<Column> = Vec::with_capacity(schema.fields().len());
        for described in &self.table.columns {
            let column = match described.is_declared_text() {
                true => Some(Column::of_any(described.nullable)),
                false => Column::new(&described.data_type, described.nullable),
            };
            columns.push(column.ok_or_else(|| SourceError::Protocol {
                target: self.target.clone(),
                reason: format!("no reader for {}", described.data_type),
            })?);
        }
        let (query, parameters) = self.query();
        let mut statement = connection.prepare_cached(&query).map_err(refused)?;
        let mut rows = statement
            .query(params_from_iter(parameters))
            .map_err(refused)?;
        let (mut count, mut bytes, mut place) = (0, 0, None);
        while bytes < BATCH_BYTES
            && let Some(row) = rows.next().map_err(refused)?
        {
            bytes += self.append(row, &mut columns)?;
            count += 1;
            place = Some(self.behind(row, count).map_err(refused)?);
        }
        let arrays = columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch =
            RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|error| {
                SourceError::Protocol {
                    target: self.target.clone(),
                    reason: error.to_string(),
                }
            })?;
        let whole = count < BATCH_ROWS && bytes < BATCH_BYTES;
        let next = place.filter(|_| !whole).map(|place| Self {
            place,
            ..self.again()
        });
        Ok((batch, next))
    }

    fn again(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            target: self.target.clone(),
            paging: self.paging.clone(),
            place: self.place.clone(),
        }
    }

    /// The columns to page by, as SQL.
    fn order(&self) -> Vec<String> {
        match &self.paging {
            Paging::RowNumber(name) => vec![format!("t.{name}")],
            Paging::Key(columns) => columns.iter().map(|name| field(name)).collect(),
            Paging::Position => Vec::new(),
        }
    }

    /// The columns of the table, then those to page by.
    fn query(&self) -> (String, Vec<Value>) {
        let order = self.order();
        let mut select: Vec<String> = self
            .table
            .columns
            .iter()
            .map(|column| field(&column.name))
            .chain(order.iter().cloned())
            .collect();
        if select.is_empty() {
            select.push("NULL".to_owned());
        }
        let select = select.join(", ");
        let from = format!("{} AS t", quote(self.table.name.as_str()));
        let order = order.join(", ");
        match &self.place {
            Place::Start if order.is_empty() => (
                format!("SELECT {select} FROM {from} LIMIT {BATCH_ROWS}"),
                Vec::new(),
            ),
            Place::Start => (
                format!("SELECT {select} FROM {from} ORDER BY {order} LIMIT {BATCH_ROWS}"),
                Vec::new(),
            ),
            Place::Behind(values) => {
                let places = vec!["?"; values.len()].join(", ");
                (
                    format!(
                        "SELECT {select} FROM {from} WHERE ({order}) > ({places}) \
                         ORDER BY {order} LIMIT {BATCH_ROWS}"
                    ),
                    values.clone(),
                )
            }
            Place::Position(rows) => (
                format!("SELECT {select} FROM {from} LIMIT {BATCH_ROWS} OFFSET ?"),
                vec![Value::Integer(*rows)],
            ),
        }
    }

    /// Appends a row, and says how many bytes its texts and blobs have.
    fn append(&self, row: &Row<'_>, columns: &mut [Column]) -> Result<usize, SourceError> {
        let mut bytes = 0;
        for (place, (column, described)) in columns.iter_mut().zip(&self.table.columns).enumerate()
        {
            let value = row
                .get_ref(place)
                .map_err(|error| failed(&self.target, "show a value", error))?;
            if let ValueRef::Text(data) | ValueRef::Blob(data) = value {
                bytes += data.len();
            }
            column.append(value).map_err(|misfit| SourceError::Value {
                column: described.name.clone(),
                value: format!("{} in {}", misfit.found, self.name_of(row)),
                expected: misfit.expected,
            })?;
        }
        Ok(bytes)
    }

    /// Where the next page begins if it follows `row`, the `count`-th of this one.
    fn behind(&self, row: &Row<'_>, count: usize) -> rusqlite::Result<Place> {
        if self.paging == Paging::Position {
            let before = match self.place {
                Place::Position(rows) => rows,
                Place::Start | Place::Behind(_) => 0,
            };
            return Ok(Place::Position(before + count as i64));
        }
        let first = self.table.columns.len();
        (first..first + self.order().len())
            .map(|place| row.get(place))
            .collect::<rusqlite::Result<_>>()
            .map(Place::Behind)
    }

    /// How people find `row`: by its number where it has one.
    fn name_of(&self, row: &Row<'_>) -> String {
        let number: Option<i64> = match self.paging {
            Paging::RowNumber(_) => row.get(self.table.columns.len()).ok(),
            Paging::Key(_) | Paging::Position => None,
        };
        match number {
            Some(number) => format!("row {number} of table {}", self.table.name),
            None => format!("a row of table {}", self.table.name),
        }
    }
}
