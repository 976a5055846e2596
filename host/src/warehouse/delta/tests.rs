//! Tests of the embedded warehouse: what they share.

mod bucket;
mod modes;
mod queries;
mod recovery;
mod sweep;

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, TimeDelta};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::Delta;
use super::location::Location;
use crate::contract::{LoadMode, ModuleRef};
use crate::digest::Digest;
use crate::run::RunId;
use crate::warehouse::{BatchStream, Load, TableLoad, TableLoaded, Warehouse as _, WarehouseError};

/// A table and what a landing brings for it.
#[derive(Clone)]
struct Given {
    table: &'static str,
    mode: LoadMode,
    schema: SchemaRef,
    key: &'static [&'static str],
    rows: Vec<Value>,
    retracted: Vec<Value>,
    alias: Option<&'static str>,
    version: &'static str,
    /// Whether the stream of rows ends with an error.
    breaks: bool,
}

impl Given {
    fn rows(mut self, rows: impl IntoIterator<Item = Value>) -> Self {
        self.rows = rows.into_iter().collect();
        self
    }

    fn retracted(mut self, keys: impl IntoIterator<Item = Value>) -> Self {
        self.retracted = keys.into_iter().collect();
        self
    }

    fn breaking(mut self) -> Self {
        self.breaks = true;
        self
    }

    fn load(&self) -> TableLoad {
        let key: Vec<String> = self.key.iter().map(|name| (*name).to_owned()).collect();
        let key_fields: Vec<Field> = key
            .iter()
            .map(|name| self.schema.field_with_name(name).expect("a key").clone())
            .collect();
        TableLoad {
            table: self.table.into(),
            schema: Arc::clone(&self.schema),
            primary_key: key,
            mode: self.mode,
            record_id: None,
            alias: self.alias.map(str::to_owned),
            module: ModuleRef {
                name: self.table.replace('_', "-"),
                version: self.version.into(),
                digest: Digest::of(self.version),
            },
            transform_run: RunId::from(format!("transform-{}", self.version)),
            rows: batches(&self.schema, &self.rows, self.breaks),
            retractions: batches(&Arc::new(Schema::new(key_fields)), &self.retracted, false),
        }
    }
}

fn batches(schema: &SchemaRef, rows: &[Value], breaks: bool) -> BatchStream {
    let mut batches: Vec<Result<RecordBatch, crate::Error>> = rows
        .chunks(4096)
        .map(|rows| Ok(batch(schema, rows)))
        .collect();
    if breaks {
        let cause = WarehouseError::Query("the zone is gone".into());
        batches.push(Err(cause.into()));
    }
    stream::iter(batches).boxed()
}

fn batch(schema: &SchemaRef, rows: &[Value]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows.len())
        .build_decoder()
        .expect("types that JSON can say");
    decoder.serialize(rows).expect("rows of the schema");
    decoder.flush().expect("rows of the schema").expect("rows")
}

/// A fact with every type of the example: `append-versions`.
fn payments() -> Given {
    let schema = Schema::new(vec![
        Field::new("payment_id", DataType::Int32, false),
        Field::new(
            "created_time",
            DataType::Time64(TimeUnit::Microsecond),
            false,
        ),
        Field::new("payment_amount", DataType::Decimal128(10, 2), false),
        Field::new("paid", DataType::Boolean, false),
        Field::new("payment_date", DataType::Date32, true),
    ]);
    given(
        "fact_payment",
        LoadMode::AppendVersions,
        schema,
        &["payment_id"],
    )
}

fn payment(id: i32, amount: &str, paid: bool) -> Value {
    json!({
        "payment_id": id, "created_time": "07:55:11.000123", "payment_amount": amount,
        "paid": paid, "payment_date": "2022-11-03",
    })
}

/// A dimension: `upsert`.
fn locations() -> Given {
    let schema = Schema::new(vec![
        Field::new("location_id", DataType::Int32, false),
        Field::new("city", DataType::Utf8, false),
        Field::new("district", DataType::Utf8, true),
    ]);
    given("dim_location", LoadMode::Upsert, schema, &["location_id"])
}

fn location(id: i32, city: &str, district: Option<&str>) -> Value {
    json!({ "location_id": id, "city": city, "district": district })
}

fn given(
    table: &'static str,
    mode: LoadMode,
    schema: Schema,
    key: &'static [&'static str],
) -> Given {
    Given {
        table,
        mode,
        schema: Arc::new(schema),
        key,
        rows: Vec::new(),
        retracted: Vec::new(),
        alias: None,
        version: "1.0.0",
        breaks: false,
    }
}

fn landing(number: u64, tables: &[Given]) -> Load {
    landing_of("totesys", number, tables)
}

fn landing_of(source: &str, number: u64, tables: &[Given]) -> Load {
    let hours = i64::try_from(number).expect("a small number");
    Load {
        run: RunId::from(format!("run-{number}")),
        source: source.into(),
        landing: number,
        logical_time: DateTime::UNIX_EPOCH + TimeDelta::hours(hours),
        tables: tables.iter().map(Given::load).collect(),
    }
}

/// A warehouse in a folder that does not exist yet.
fn warehouse() -> (tempfile::TempDir, Delta) {
    let folder = tempfile::tempdir().expect("a folder");
    let delta = Delta::new(folder.path().join("the wärehouse #1")).expect("a path");
    (folder, delta)
}

async fn load(delta: &Delta, number: u64, tables: &[Given]) -> Vec<TableLoaded> {
    delta.load(landing(number, tables)).await.expect("it loads")
}

/// Loads one table and returns inserted, updated, removed, unchanged.
async fn load_one(delta: &Delta, number: u64, table: Given) -> [u64; 4] {
    let loaded = load(delta, number, &[table]).await;
    let [table] = &loaded[..] else {
        panic!("one table was loaded: {loaded:?}")
    };
    assert!(!table.already);
    [
        table.inserted,
        table.updated,
        table.removed,
        table.unchanged,
    ]
}

/// The rows of a query, each as its values with a bar between.
async fn ask(delta: &Delta, sql: &str) -> Vec<String> {
    let (_, batches) = delta.query(sql).await.expect(sql);
    let batches: Vec<RecordBatch> = batches.try_collect().await.expect(sql);
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("printable"))
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// The versions in the log of a table: one for each commit.
fn commits(delta: &Delta, table: &str) -> usize {
    files_in(delta, &format!("{table}/_delta_log"), ".json")
}

/// The folder of a warehouse in one.
fn root(delta: &Delta) -> &Path {
    match &delta.place {
        Location::Folder(folder) => folder,
        Location::Bucket(bucket) => panic!("{bucket} is no folder"),
    }
}

/// The files of a folder whose names end so.
fn files_in(delta: &Delta, folder: &str, suffix: &str) -> usize {
    let names: Vec<String> = match delta.place.join(folder) {
        Location::Folder(folder) => {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            let name = |entry: std::io::Result<std::fs::DirEntry>| {
                entry.expect("readable").file_name().into_string()
            };
            entries.map(|entry| name(entry).expect("ours")).collect()
        }
        Location::Bucket(bucket) => {
            let listing = bucket.objects.list_with_delimiter(Some(&bucket.prefix));
            let listed = futures::executor::block_on(listing).expect("it is in memory");
            let names = listed.objects.into_iter();
            names.map(|object| object.location.to_string()).collect()
        }
    };
    names.iter().filter(|name| name.ends_with(suffix)).count()
}
