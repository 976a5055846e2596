//! Loads in a few words, for the tests of warehouses.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use tidemill::contract::{LoadMode, ModuleRef};
use tidemill::digest::Digest;
use tidemill::run::RunId;
use tidemill::warehouse::{BatchStream, Load, TableLoad, Warehouse};

/// A row of the tests: a key and two values that may be NULL.
pub(super) type OrderRow<'a> = (i32, Option<i32>, Option<&'a str>);

/// The columns `order_id` (the key), `units` and `code`.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int32, false),
        Field::new("units", DataType::Int32, true),
        Field::new("code", DataType::Utf8, true),
    ]))
}

/// Batches that arrive without an error.
pub(super) fn stream(batches: Vec<RecordBatch>) -> BatchStream {
    stream::iter(batches.into_iter().map(Ok)).boxed()
}

/// A batch of `schema`.
pub(super) fn orders(rows: &[OrderRow<'_>]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns of the schema")
}

/// A batch of keys.
pub(super) fn keys(keys: &[i32]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("order_id", DataType::Int32, false)]);
    let column: ArrayRef = Arc::new(Int32Array::from(keys.to_vec()));
    RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column")
}

/// Rows and retractions for `table`, keyed by `order_id`.
pub(super) fn table(
    name: &str,
    mode: LoadMode,
    rows: &[OrderRow<'_>],
    retractions: &[i32],
) -> TableLoad {
    let module = ModuleRef {
        name: "orders".into(),
        version: "1.2.3".into(),
        digest: Digest::of("orders"),
    };
    TableLoad {
        table: name.into(),
        schema: schema(),
        primary_key: vec!["order_id".into()],
        mode,
        record_id: None,
        alias: None,
        module,
        transform_run: RunId::from("transform".to_owned()),
        rows: stream(vec![orders(rows)]),
        retractions: stream(vec![keys(retractions)]),
    }
}

/// A table of any columns, keyed by the first.
pub(super) fn table_of(name: &str, mode: LoadMode, batch: RecordBatch) -> TableLoad {
    let key = batch.schema().field(0).name().clone();
    let keys = batch
        .project(&[0])
        .expect("it has a first column")
        .slice(0, 0);
    TableLoad {
        schema: batch.schema(),
        primary_key: vec![key],
        rows: stream(vec![batch]),
        retractions: stream(vec![keys]),
        ..table(name, mode, &[], &[])
    }
}

/// The logical time of landing `number`: an hour after the one before.
pub(super) fn logical_time(number: u64) -> DateTime<Utc> {
    let begin: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("a time");
    begin + TimeDelta::hours(i64::try_from(number).expect("few landings"))
}

/// Landing `number` of the source `totesys`.
pub(super) fn landing(number: u64, tables: Vec<TableLoad>) -> Load {
    Load {
        run: RunId::from(format!("load-{number}")),
        source: "totesys".into(),
        landing: number,
        logical_time: logical_time(number),
        tables,
    }
}

/// The whole result of a query.
pub(super) async fn query(warehouse: &dyn Warehouse, sql: &str) -> RecordBatch {
    let (schema, batches) = warehouse.query(sql).await.expect(sql);
    let batches: Vec<RecordBatch> = batches.try_collect().await.expect(sql);
    concat_batches(&schema, &batches).expect("batches of one schema")
}

/// The result of a query as text: values with `|` between them, a line per row, NULL as `-`.
pub(super) async fn rows(warehouse: &dyn Warehouse, sql: &str) -> Vec<String> {
    let batch = query(warehouse, sql).await;
    let options = arrow::util::display::FormatOptions::new().with_null("-");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| {
            arrow::util::display::ArrayFormatter::try_new(column, &options).expect("a shown type")
        })
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            values.join("|")
        })
        .collect()
}
