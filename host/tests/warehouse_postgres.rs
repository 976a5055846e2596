//! The PostgreSQL warehouse against a real server.

#[path = "support/landing.rs"]
mod landing;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "each binary of tests uses its part of it"
)]
mod support;

use std::error::Error as _;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use bytes::BytesMut;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, stream};
use landing::{
    OrderRow, keys, landing, logical_time, orders, query, rows, stream, table, table_of,
};
use support::Server;
use tidemill::ErrorKind;
use tidemill::connection::postgres::{PgConnection, PgUrl, connect};
use tidemill::contract::LoadMode::{self, AppendVersions, Overwrite, Scd2, Upsert};
use tidemill::error::Classify;
use tidemill::warehouse::postgres::PostgresWarehouse;
use tidemill::warehouse::{TableLoad, TableLoaded, Warehouse, WarehouseError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A database of one test, in the server that all of them share: its URL.
struct Database {
    url: String,
    /// The server stops with its last user.
    _server: Arc<Server>,
}

impl Deref for Database {
    type Target = str;

    fn deref(&self) -> &str {
        &self.url
    }
}

async fn database() -> Database {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let server = Server::shared();
    let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
    server.database(&name).await;
    Database {
        url: server.url(&name),
        _server: server,
    }
}

/// A connection beside the code under test.
async fn client(url: &str) -> PgConnection {
    let url = PgUrl::parse(url).expect("a URL of the tests");
    connect(&url).await.expect("the tests' server answers")
}

fn warehouse(url: &str) -> PostgresWarehouse {
    PostgresWarehouse::new(url, "star").expect("a URL of the tests")
}

/// Loads one table and gives what was done to it.
async fn load(to: &PostgresWarehouse, number: u64, table: TableLoad) -> TableLoaded {
    let mut loaded = to
        .load(landing(number, vec![table]))
        .await
        .expect("it is loaded");
    assert_eq!(loaded.len(), 1);
    loaded.remove(0)
}

/// Inserted, updated, removed, unchanged.
fn counts(loaded: &TableLoaded) -> [u64; 4] {
    [
        loaded.inserted,
        loaded.updated,
        loaded.removed,
        loaded.unchanged,
    ]
}

async fn execute(url: &str, sql: &str) {
    client(url).await.batch_execute(sql).await.expect(sql);
}

/// A number that the database itself tells, beside the code under test.
async fn number(url: &str, sql: &str) -> i64 {
    let client = client(url).await;
    let row = client.query_one(sql, &[]).await.expect(sql);
    row.get(0)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

const FACT: &str = "select order_id, units, code from fact_order order by fact_order_record_id";
const CURRENT: &str =
    "select fact_order_record_id, order_id, units, code from fact_order_current order by order_id";
const DIMENSION: &str = "select order_id, units, code from dim_order order by order_id";

#[tokio::test]
async fn a_new_warehouse_is_empty_and_stays_untouched_by_asking() {
    let url = database().await;
    let to = warehouse(&url);
    assert_eq!(to.ledger().await.expect("an answer"), <_>::default());
    assert!(to.tables().await.expect("an answer").is_empty());
    assert_eq!(
        number(
            &url,
            "select count(*) from pg_namespace where nspname in ('star', 'tidemill')"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_landing_is_loaded_once_and_its_ledger_says_so() {
    let url = database().await;
    let to = warehouse(&url);
    let both = |rows: &[OrderRow<'_>]| {
        landing(
            7,
            vec![
                table("dim_order", Upsert, rows, &[]),
                table("fact_order", AppendVersions, rows, &[]),
            ],
        )
    };
    let first = to
        .load(both(&[(1, Some(10), Some("a")), (2, None, None)]))
        .await
        .expect("it is loaded");
    assert!(first.iter().all(|table| counts(table) == [2, 0, 0, 0]));
    let ledger = to.ledger().await.expect("an answer");
    assert_eq!(ledger.through("dim_order", "totesys"), 7);
    assert_eq!(ledger.through("fact_order", "totesys"), 7);
    assert_eq!(ledger.through("fact_order", "another"), 0);

    let second = to
        .load(both(&[(1, Some(99), None), (3, None, None)]))
        .await
        .expect("it is loaded");
    assert!(second.iter().all(|table| table.already));
    assert!(second.iter().all(|table| counts(table) == [0, 0, 0, 0]));
    assert_eq!(rows(&to, DIMENSION).await, ["1|10|a", "2|-|-"]);
    assert_eq!(rows(&to, FACT).await, ["1|10|a", "2|-|-"]);
}

#[tokio::test]
async fn a_table_that_missed_a_landing_is_loaded_beside_one_that_has_it() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Upsert, &[(1, None, None)], &[])).await;
    let loaded = to
        .load(landing(
            1,
            vec![
                table("dim_order", Upsert, &[(9, None, None)], &[]),
                table("fact_order", AppendVersions, &[(1, None, None)], &[]),
            ],
        ))
        .await
        .expect("it is loaded");
    assert_eq!(
        loaded.iter().map(|t| t.already).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(rows(&to, DIMENSION).await, ["1|-|-"]);
    assert_eq!(rows(&to, FACT).await, ["1|-|-"]);
}

#[tokio::test]
async fn rows_of_our_tables_say_where_they_come_from() {
    let url = database().await;
    let to = warehouse(&url);
    load(
        &to,
        1,
        table(
            "dim_order",
            Upsert,
            &[(1, Some(1), None), (2, None, None)],
            &[],
        ),
    )
    .await;
    let changed = TableLoad {
        transform_run: "transform-2".to_owned().into(),
        ..table(
            "dim_order",
            Upsert,
            &[(1, Some(2), None), (2, None, None)],
            &[],
        )
    };
    assert_eq!(counts(&load(&to, 2, changed).await), [0, 1, 0, 1]);
    let provenance = rows(
        &to,
        "select order_id, _tidemill_run, _tidemill_module, _tidemill_source, _tidemill_landing,
                _tidemill_logical_time, _tidemill_digest from dim_order order by 1",
    )
    .await;
    let digest = tidemill::digest::Digest::of("orders");
    assert_eq!(
        provenance,
        [
            format!("1|transform-2|orders@1.2.3|totesys|2|2026-01-01T02:00:00Z|{digest}"),
            format!("2|transform|orders@1.2.3|totesys|1|2026-01-01T01:00:00Z|{digest}"),
        ]
    );
    assert_eq!(
        number(&url, "select count(*) from pg_constraint where conrelid = 'star.dim_order'::regclass and contype = 'p'").await,
        1
    );
}

#[tokio::test]
async fn upsert_changes_what_differs_and_removes_what_is_gone() {
    let url = database().await;
    let to = warehouse(&url);
    let first = [
        (1, Some(1), Some("a")),
        (2, None, Some("b")),
        (3, Some(3), None),
    ];
    load(&to, 1, table("dim_order", Upsert, &first, &[])).await;
    let second = [
        (1, Some(1), Some("a")),
        (2, Some(2), Some("b")),
        (4, None, None),
    ];
    let loaded = load(&to, 2, table("dim_order", Upsert, &second, &[3, 77])).await;
    assert_eq!(counts(&loaded), [1, 1, 1, 1]);
    assert_eq!(rows(&to, DIMENSION).await, ["1|1|a", "2|2|b", "4|-|-"]);
    let back = load(
        &to,
        3,
        table("dim_order", Upsert, &[(2, None, Some("b"))], &[]),
    )
    .await;
    assert_eq!(counts(&back), [0, 1, 0, 0]);
    assert_eq!(rows(&to, DIMENSION).await, ["1|1|a", "2|-|b", "4|-|-"]);
}

#[tokio::test]
async fn overwrite_makes_the_table_equal_to_the_rows() {
    let url = database().await;
    let to = warehouse(&url);
    let first = [(1, Some(1), None), (2, Some(2), None), (3, Some(3), None)];
    load(&to, 1, table("dim_order", Overwrite, &first, &[])).await;
    let second = [(2, Some(2), None), (3, Some(33), None), (4, Some(4), None)];
    let loaded = load(&to, 2, table("dim_order", Overwrite, &second, &[])).await;
    assert_eq!(counts(&loaded), [1, 1, 1, 1]);
    assert_eq!(rows(&to, DIMENSION).await, ["2|2|-", "3|33|-", "4|4|-"]);
    let none = load(&to, 3, table("dim_order", Overwrite, &[], &[])).await;
    assert_eq!(counts(&none), [0, 0, 3, 0]);
}

#[tokio::test]
async fn a_version_is_appended_only_where_it_differs_from_the_latest() {
    let url = database().await;
    let to = warehouse(&url);
    let fact = |rows: &[OrderRow<'_>]| table("fact_order", AppendVersions, rows, &[]);
    load(&to, 1, fact(&[(1, Some(10), Some("a")), (2, None, None)])).await;
    let edited = load(&to, 2, fact(&[(1, Some(11), Some("a")), (2, None, None)])).await;
    assert_eq!(counts(&edited), [1, 0, 0, 1]);
    let back = load(&to, 3, fact(&[(1, Some(10), Some("a"))])).await;
    assert_eq!(counts(&back), [1, 0, 0, 0]);
    let nulls = load(&to, 4, fact(&[(1, Some(10), None), (2, Some(0), None)])).await;
    assert_eq!(counts(&nulls), [2, 0, 0, 0]);
    assert_eq!(
        rows(&to, FACT).await,
        ["1|10|a", "2|-|-", "1|11|a", "1|10|a", "1|10|-", "2|0|-"]
    );
    assert_eq!(rows(&to, CURRENT).await, ["5|1|10|-", "6|2|0|-"]);
}

#[tokio::test]
async fn versions_are_numbered_in_the_order_of_the_stream_without_gaps() {
    let url = database().await;
    let to = warehouse(&url);
    let many: Vec<OrderRow<'_>> = (0..5_000).rev().map(|key| (key, Some(key), None)).collect();
    let batches = many.chunks(700).map(orders).collect();
    let first = TableLoad {
        rows: stream(batches),
        ..table("fact_order", AppendVersions, &[], &[])
    };
    assert_eq!(counts(&load(&to, 1, first).await), [5_000, 0, 0, 0]);
    let edited: Vec<OrderRow<'_>> = (0..5_000)
        .map(|key| (key, Some(key / 4_999), None))
        .collect();
    let loaded = load(&to, 2, table("fact_order", AppendVersions, &edited, &[])).await;
    assert_eq!(counts(&loaded), [4_999, 0, 0, 1]);
    assert_eq!(
        number(&url, "select count(*) from star.fact_order where fact_order_record_id <= 5000 and fact_order_record_id <> 5000 - order_id").await,
        0
    );
    assert_eq!(
        number(&url, "select count(*) from star.fact_order where fact_order_record_id > 5000 and fact_order_record_id <> 5000 + order_id").await,
        0
    );
    assert_eq!(
        number(
            &url,
            "select max(fact_order_record_id) from star.fact_order"
        )
        .await,
        9_999
    );
}

#[tokio::test]
async fn a_deleted_key_leaves_its_history_and_comes_back_as_a_version() {
    let url = database().await;
    let to = warehouse(&url);
    let fact =
        |rows: &[OrderRow<'_>], gone: &[i32]| table("fact_order", AppendVersions, rows, gone);
    load(&to, 1, fact(&[(1, Some(1), None), (2, Some(2), None)], &[])).await;
    let deleted = load(&to, 2, fact(&[], &[1, 99])).await;
    assert_eq!(counts(&deleted), [0, 0, 1, 0]);
    assert_eq!(rows(&to, FACT).await, ["1|1|-", "2|2|-"]);
    assert_eq!(rows(&to, CURRENT).await, ["2|2|2|-"]);
    let again = load(&to, 3, fact(&[], &[1])).await;
    assert_eq!(counts(&again), [0, 0, 0, 0]);
    let entered = load(&to, 4, fact(&[(1, Some(1), None), (2, Some(2), None)], &[])).await;
    assert_eq!(counts(&entered), [1, 0, 0, 1]);
    assert_eq!(rows(&to, CURRENT).await, ["3|1|1|-", "2|2|2|-"]);
    let deleted = load(&to, 5, fact(&[], &[1])).await;
    assert_eq!(counts(&deleted), [0, 0, 1, 0]);
    assert_eq!(rows(&to, CURRENT).await, ["2|2|2|-"]);
}

#[tokio::test]
async fn scd2_closes_a_version_where_the_next_begins() {
    let url = database().await;
    let to = warehouse(&url);
    let dim = |rows: &[OrderRow<'_>], gone: &[i32]| table("dim_order", Scd2, rows, gone);
    load(&to, 1, dim(&[(1, Some(1), None), (2, Some(2), None)], &[])).await;
    let edited = load(&to, 2, dim(&[(1, Some(11), None), (2, Some(2), None)], &[])).await;
    assert_eq!(counts(&edited), [1, 0, 0, 1]);
    assert_eq!(
        counts(&load(&to, 3, dim(&[], &[1, 99])).await),
        [0, 0, 1, 0]
    );
    assert_eq!(
        counts(&load(&to, 5, dim(&[(1, Some(11), None)], &[])).await),
        [1, 0, 0, 0]
    );
    assert_eq!(
        rows(
            &to,
            "select order_id, units, _valid_from, _valid_to, _is_current from dim_order order by 1, 3"
        )
        .await,
        [
            "1|1|2026-01-01T01:00:00Z|2026-01-01T02:00:00Z|false",
            "1|11|2026-01-01T02:00:00Z|2026-01-01T03:00:00Z|false",
            "1|11|2026-01-01T05:00:00Z|-|true",
            "2|2|2026-01-01T01:00:00Z|-|true",
        ]
    );
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_no_version_that_ends_before_it_begins() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Scd2, &[(1, Some(1), None)], &[])).await;
    let mut earlier = landing(
        2,
        vec![table("dim_order", Scd2, &[(1, Some(2), None)], &[])],
    );
    earlier.logical_time = logical_time(0);
    to.load(earlier).await.expect("it is loaded");
    assert_eq!(
        number(&url, "select count(*) from star.dim_order where _valid_to < _valid_from or _valid_from < '2026-01-01T01:00Z'").await,
        0
    );
    assert_eq!(
        rows(&to, "select units from dim_order where _is_current").await,
        ["2"]
    );
}

#[tokio::test]
async fn a_module_with_a_new_column_extends_our_table() {
    let url = database().await;
    let to = warehouse(&url);
    let narrow = orders(&[(1, Some(1), Some("a"))])
        .project(&[0, 2])
        .expect("two columns");
    load(&to, 1, table_of("fact_order", AppendVersions, narrow)).await;
    let wide = load(
        &to,
        2,
        table(
            "fact_order",
            AppendVersions,
            &[(1, Some(5), Some("a"))],
            &[],
        ),
    )
    .await;
    assert_eq!(counts(&wide), [1, 0, 0, 0]);
    assert_eq!(rows(&to, FACT).await, ["1|-|a", "1|5|a"]);
    assert_eq!(rows(&to, CURRENT).await, ["2|1|5|a"]);
    assert!(wide.notes.is_empty(), "{:?}", wide.notes);
}

#[tokio::test]
async fn a_module_that_lost_a_column_leaves_it_null() {
    let url = database().await;
    let to = warehouse(&url);
    let schema = Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int32, false),
        Field::new("units", DataType::Int32, false),
    ]));
    let column = |value: i32| -> ArrayRef { Arc::new(Int32Array::from(vec![value])) };
    let wide = RecordBatch::try_new(schema, vec![column(1), column(5)]).expect("two columns");
    let narrow = |key| {
        orders(&[(key, None, None)])
            .project(&[0])
            .expect("one column")
    };
    load(&to, 1, table_of("dim_order", Upsert, wide)).await;
    let loaded = load(&to, 2, table_of("dim_order", Upsert, narrow(2))).await;
    assert_eq!(counts(&loaded), [1, 0, 0, 0]);
    let unchanged = load(&to, 3, table_of("dim_order", Upsert, narrow(1))).await;
    assert_eq!(counts(&unchanged), [0, 0, 0, 1]);
    assert_eq!(
        rows(&to, "select order_id, units from dim_order order by 1").await,
        ["1|5", "2|-"]
    );
}

#[tokio::test]
async fn a_dropped_table_is_pending_again() {
    let url = database().await;
    let to = warehouse(&url);
    let fact =
        |rows: &[OrderRow<'_>], gone: &[i32]| table("fact_order", AppendVersions, rows, gone);
    load(&to, 1, fact(&[(1, None, None)], &[])).await;
    load(&to, 2, fact(&[], &[1])).await;
    execute(&url, "drop table star.fact_order cascade").await;
    assert_eq!(
        to.ledger()
            .await
            .expect("an answer")
            .through("fact_order", "totesys"),
        0
    );
    load(&to, 1, fact(&[(1, None, None)], &[])).await;
    assert_eq!(rows(&to, CURRENT).await, ["1|1|-|-"]);
}

#[tokio::test]
async fn every_type_arrives_and_comes_back() {
    let url = database().await;
    let to = warehouse(&url);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let utc: Arc<str> = "UTC".into();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("order_id", Arc::new(Int32Array::from(vec![1, 2]))),
        (
            "big",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(-1_234_567_890), None])
                    .with_precision_and_scale(10, 2)
                    .expect("ten digits"),
            ),
        ),
        ("paid", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (
            "name",
            Arc::new(StringArray::from(vec![Some("O'Keefe, \\ ß"), None])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), None])),
        ),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        (
            "at",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(29_111_000_001),
                None,
            ])),
        ),
        (
            "clock",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])),
        ),
        (
            "instant",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone(utc)),
        ),
        ("list", Arc::new(list)),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), *name != "order_id"))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let sent = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("one length");
    load(&to, 1, table_of("dim_type", Upsert, sent.clone())).await;
    let names: Vec<&str> = sent
        .schema_ref()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    let got = query(
        &to,
        &format!("select {} from dim_type order by 1", names.join(", ")),
    )
    .await;
    for (name, (sent, got)) in names.iter().zip(sent.columns().iter().zip(got.columns())) {
        assert_eq!(sent.data_type(), got.data_type(), "{name}");
        assert_eq!(sent, got, "{name}");
    }
    let declared = rows(
        &to,
        "select format_type(atttypid, atttypmod) from pg_attribute
          where attrelid = 'star.dim_type'::regclass and attnum between 1 and 11 order by attnum",
    )
    .await;
    assert_eq!(
        declared,
        [
            "integer",
            "bigint",
            "numeric(10,2)",
            "boolean",
            "text",
            "bytea",
            "date",
            "time without time zone",
            "timestamp without time zone",
            "timestamp with time zone",
            "integer[]",
        ]
    );
    let again = load(&to, 2, table_of("dim_type", Upsert, sent)).await;
    assert_eq!(counts(&again), [0, 0, 0, 2]);
}

#[tokio::test]
async fn a_type_without_an_exact_form_is_refused_before_anything_is_written() {
    let url = database().await;
    let to = warehouse(&url);
    let schema = Schema::new(vec![
        Field::new("order_id", DataType::Int32, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
    ]);
    let nanoseconds = RecordBatch::new_empty(Arc::new(schema));
    let error = to
        .load(landing(
            1,
            vec![
                table("dim_order", Upsert, &[(1, None, None)], &[]),
                table_of("dim_time", Upsert, nanoseconds),
            ],
        ))
        .await
        .expect_err("nanoseconds are lost");
    assert_eq!(
        error.to_string(),
        "the table star.dim_time of the warehouse cannot have the column `at`: PostgreSQL has no exact type for Timestamp(ns): PostgreSQL keeps microseconds"
    );
    assert_eq!(
        number(
            &url,
            "select count(*) from pg_namespace where nspname in ('star', 'tidemill')"
        )
        .await,
        0
    );
}

// A provided warehouse.

const PROVIDED: &str = "
    create schema star;
    create table star.dim_order (code varchar(4), order_id smallint primary key, remark text default 'none');
    create table star.fact_order (
        fact_key serial primary key,
        units numeric(12,3),
        order_id int not null references star.dim_order on delete cascade,
        loaded timestamptz not null default now());
    select setval('star.fact_order_fact_key_seq', 1000);";

#[tokio::test]
async fn a_provided_warehouse_is_loaded_by_the_names_of_its_columns() {
    let url = database().await;
    execute(&url, PROVIDED).await;
    let to = warehouse(&url);
    let loaded = to
        .load(landing(
            1,
            vec![
                table("dim_order", Upsert, &[(1, Some(5), Some("a"))], &[]),
                table(
                    "fact_order",
                    AppendVersions,
                    &[(1, Some(5), Some("a"))],
                    &[],
                ),
            ],
        ))
        .await
        .expect("it is loaded");
    let notes: Vec<&[String]> = loaded.iter().map(|table| table.notes.as_slice()).collect();
    assert_eq!(
        notes,
        [
            ["the warehouse's table has no column `units`: not loaded"],
            ["the warehouse's table has no column `code`: not loaded"],
        ]
    );
    assert_eq!(rows(&to, "select * from dim_order").await, ["a|1|none"]);
    assert_eq!(
        rows(
            &to,
            "select fact_key, units, order_id, loaded is not null from fact_order"
        )
        .await,
        ["1001|5.000|1|true"]
    );
    let fact =
        |rows: &[OrderRow<'_>], gone: &[i32]| table("fact_order", AppendVersions, rows, gone);
    let same = load(&to, 2, fact(&[(1, Some(5), Some("other"))], &[])).await;
    assert_eq!(counts(&same), [0, 0, 0, 1]);
    let edited = load(&to, 3, fact(&[(1, Some(6), None)], &[])).await;
    assert_eq!(counts(&edited), [1, 0, 0, 0]);
    let current = "select fact_key, order_id, units from fact_order_current";
    assert_eq!(rows(&to, current).await, ["1002|1|6.000"]);
    assert_eq!(counts(&load(&to, 4, fact(&[], &[1])).await), [0, 0, 1, 0]);
    assert!(rows(&to, current).await.is_empty());
    assert_eq!(
        number(&url, "select count(*) from pg_attribute where attname like '\\_tidemill%' and attrelid in ('star.dim_order'::regclass, 'star.fact_order'::regclass)").await,
        0
    );
}

#[tokio::test]
async fn a_row_that_the_history_of_facts_points_at_is_kept() {
    let url = database().await;
    execute(&url, PROVIDED).await;
    let to = warehouse(&url);
    let dimension = |rows: &[OrderRow<'_>], gone: &[i32]| table("dim_order", Upsert, rows, gone);
    to.load(landing(
        1,
        vec![
            dimension(
                &[
                    (1, None, Some("a")),
                    (2, None, Some("b")),
                    (3, None, Some("c")),
                ],
                &[],
            ),
            table("fact_order", AppendVersions, &[(1, None, None)], &[]),
        ],
    ))
    .await
    .expect("it is loaded");
    let loaded = load(&to, 2, dimension(&[], &[1, 2])).await;
    assert_eq!(loaded.removed, 1);
    assert!(
        loaded.notes.contains(
            &"1 row is gone from the source and kept, because a foreign key points at it: from fact_order".to_owned()
        ),
        "{:?}",
        loaded.notes
    );
    assert_eq!(
        rows(&to, "select code from dim_order order by 1").await,
        ["a", "c"]
    );
    assert_eq!(rows(&to, "select order_id from fact_order").await, ["1"]);
    let all = load(
        &to,
        3,
        table("dim_order", Overwrite, &[(3, None, Some("c"))], &[]),
    )
    .await;
    assert_eq!((all.removed, all.notes.len()), (0, 2));
    assert_eq!(
        rows(&to, "select code from dim_order order by 1").await,
        ["a", "c"]
    );
}

#[tokio::test]
async fn parents_and_children_that_go_in_one_landing_go_in_the_right_order() {
    let url = database().await;
    execute(
        &url,
        "create schema star;
         create table star.parent (order_id int primary key, units int references star.parent, code text unique);
         create table star.child (order_id int primary key, units int references star.parent, code text);",
    )
    .await;
    let to = warehouse(&url);
    to.load(landing(
        1,
        vec![
            table(
                "parent",
                Upsert,
                &[
                    (1, None, Some("a")),
                    (2, Some(1), Some("b")),
                    (3, Some(2), Some("c")),
                    (4, None, Some("d")),
                ],
                &[],
            ),
            table(
                "child",
                Upsert,
                &[(10, Some(3), None), (11, Some(4), None)],
                &[],
            ),
        ],
    ))
    .await
    .expect("it is loaded");
    // 3 is pointed at by a child that goes; 4 by one that moves; 5 takes the unique code of 1.
    let loaded = to
        .load(landing(
            2,
            vec![
                table("parent", Upsert, &[(5, None, Some("a"))], &[1, 2, 3, 4]),
                table("child", Upsert, &[(11, Some(5), None)], &[10]),
            ],
        ))
        .await
        .expect("it is loaded");
    assert_eq!(counts(&loaded[0]), [1, 0, 4, 0]);
    assert_eq!(counts(&loaded[1]), [0, 1, 1, 0]);
    assert!(
        loaded.iter().all(|table| table.notes.is_empty()),
        "{loaded:?}"
    );
    assert_eq!(
        rows(&to, "select order_id, code from parent").await,
        ["5|a"]
    );
}

#[tokio::test]
async fn a_provided_table_that_does_not_fit_is_refused_with_the_reason() {
    let cases = [
        (
            "units int, code text",
            "has no column `order_id`, which is its key",
        ),
        (
            "order_id int, units boolean",
            "has the column `units` of type boolean, which does not hold Int32 exactly",
        ),
        (
            "order_id int, owner text not null",
            "has the column \"owner\", which must have a value, and the rows have none for it",
        ),
    ];
    for (columns, problem) in cases {
        let url = database().await;
        execute(
            &url,
            &format!("create schema star; create table star.dim_order ({columns})"),
        )
        .await;
        let error = warehouse(&url)
            .load(landing(
                1,
                vec![table("dim_order", Upsert, &[(1, None, None)], &[])],
            ))
            .await
            .expect_err(problem);
        assert_eq!(
            error.to_string(),
            format!("the table star.dim_order of the warehouse {problem}")
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let url = database().await;
    execute(
        &url,
        "create schema star; create table star.fact_order (order_id int, units int)",
    )
    .await;
    let error = warehouse(&url)
        .load(landing(
            1,
            vec![table("fact_order", AppendVersions, &[(1, None, None)], &[])],
        ))
        .await
        .expect_err("nothing numbers the versions");
    assert_eq!(
        error.to_string(),
        "the table star.fact_order of the warehouse has no column `fact_order_record_id`, which is to number the versions of its rows"
    );
}

#[tokio::test]
async fn values_that_a_provided_column_cannot_hold_stop_the_load() {
    let url = database().await;
    execute(&url, PROVIDED).await;
    let to = warehouse(&url);
    let too_large = to
        .load(landing(
            1,
            vec![table("dim_order", Upsert, &[(70_000, None, None)], &[])],
        ))
        .await
        .expect_err("smallint is too small");
    assert_eq!(
        chain(&too_large),
        "the rows for dim_order could not be read: column `order_id` holds an integer beyond the range of smallint, in row 0 of the batch"
    );
    assert_eq!(too_large.kind(), ErrorKind::Data);
    let too_long = to
        .load(landing(
            1,
            vec![table("dim_order", Upsert, &[(1, None, Some("abcde"))], &[])],
        ))
        .await
        .expect_err("varchar(4) is too short");
    assert!(
        chain(&too_long).contains("value too long for type character varying(4)"),
        "{}",
        chain(&too_long)
    );
    assert_eq!(number(&url, "select count(*) from star.dim_order").await, 0);
    assert!(to.ledger().await.expect("an answer").through.is_empty());
}

#[tokio::test]
async fn columns_of_other_types_hold_the_same_values() {
    let url = database().await;
    execute(
        &url,
        "create schema star; create domain star.label as varchar(20);
         create type star.kind as enum ('SALE', 'PURCHASE');
         create table star.dim_order (order_id bigint generated always as identity, units numeric,
             code star.kind, doubled int generated always as (1) stored);
         create table star.dim_label (order_id numeric(6), units float8, code star.label);
         create table star.dim_json (order_id int, units smallint, code json);",
    )
    .await;
    let to = warehouse(&url);
    let wrong = to
        .load(landing(
            1,
            vec![table("dim_label", Upsert, &[(1, None, None)], &[])],
        ))
        .await
        .expect_err("an integer in float8 is not among the exact pairs");
    assert!(
        wrong
            .to_string()
            .contains("`units` of type double precision"),
        "{wrong}"
    );
    execute(&url, "alter table star.dim_label drop column units").await;
    for (name, code) in [
        ("dim_order", "SALE"),
        ("dim_label", "label"),
        ("dim_json", r#"{"b": 1, "a": 2}"#),
    ] {
        let row = [(7, Some(3), Some(code))];
        assert_eq!(
            counts(&load(&to, 1, table(name, Upsert, &row, &[])).await),
            [1, 0, 0, 0]
        );
        assert_eq!(
            counts(&load(&to, 2, table(name, Upsert, &row, &[])).await),
            [0, 0, 0, 1]
        );
        assert_eq!(
            rows(&to, &format!("select order_id, code from {name}")).await,
            [format!("7|{code}")]
        );
    }
}

// Failure.

/// Rows that the test sends while the load waits for them.
fn slow_rows(name: &str, mode: LoadMode) -> (mpsc::Sender<RecordBatch>, TableLoad) {
    let (sender, receiver) = mpsc::channel(0);
    let load = TableLoad {
        rows: receiver.map(Ok).boxed(),
        ..table(name, mode, &[], &[])
    };
    (sender, load)
}

/// Waits in the server until a load is inside its COPY.
async fn backend_in_copy(url: &str) -> i32 {
    let client = client(url).await;
    loop {
        let row = client
            .query_opt(
                "select pid from pg_stat_activity where datname = current_database()
                    and state = 'active' and query like 'COPY %'",
                &[],
            )
            .await
            .expect("an answer");
        if let Some(row) = row {
            return row.get(0);
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until the server has no session that fulfils the condition.
async fn until_none(url: &str, condition: &str) {
    let client = client(url).await;
    let sql = format!("select count(*) from pg_stat_activity where {condition}");
    while client
        .query_one(&sql, &[])
        .await
        .expect("an answer")
        .get::<_, i64>(0)
        > 0
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_while_the_server_works_gives_its_lock_back() {
    let url = database().await;
    execute(
        &url,
        "create schema star; create table star.dim_order (order_id int primary key);
         create function star.wait() returns trigger language plpgsql as
             $$ begin perform pg_sleep(3600); return new; end $$;
         create trigger wait before insert on star.dim_order for each row execute function star.wait();",
    )
    .await;
    let one = || landing(1, vec![table("dim_order", Upsert, &[(1, None, None)], &[])]);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(one()).await }
    });
    let working = "datname = current_database() and query like 'INSERT INTO \"star\"%' and wait_event = 'PgSleep'";
    let watcher = client(&url).await;
    let sql = format!("select count(*) from pg_stat_activity where {working}");
    while watcher
        .query_one(&sql, &[])
        .await
        .expect("an answer")
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    first.abort();
    until_none(&url, working).await;
    execute(&url, "drop trigger wait on star.dim_order").await;
    let loaded = warehouse(&url).load(one()).await.expect("the lock is free");
    assert_eq!(counts(&loaded[0]), [1, 0, 0, 0]);
}

/// A way to the server that is cut as soon as COMMIT has been sent: its answer does not arrive.
async fn cut_at_commit(url: &str) -> String {
    let address = url
        .split(['@', '/'])
        .nth(3)
        .expect("host and port")
        .to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let detour = listener.local_addr().expect("its address").to_string();
    let url = url.replace(&address, &detour);
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("the load connects");
        let mut far = TcpStream::connect(&address).await.expect("the server");
        let (mut sent, mut answered) = (BytesMut::new(), BytesMut::new());
        loop {
            tokio::select! {
                read = near.read_buf(&mut sent) => {
                    read.expect("the load sends");
                    let commit = sent.windows(7).any(|bytes| bytes == b"COMMIT\0");
                    far.write_all(&sent.split()).await.expect("the server reads");
                    if commit {
                        // The server has answered, so it has committed. The answer goes no further.
                        far.read_buf(&mut answered).await.expect("the server commits");
                        return;
                    }
                }
                read = far.read_buf(&mut answered) => {
                    read.expect("the server answers");
                    near.write_all(&answered.split()).await.expect("the load reads");
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn a_lost_answer_to_commit_is_found_in_the_ledger() {
    let url = database().await;
    let one = || {
        landing(
            1,
            vec![table("fact_order", AppendVersions, &[(1, None, None)], &[])],
        )
    };
    let lossy = warehouse(&cut_at_commit(&url).await);
    let error = lossy.load(one()).await.expect_err("the answer is lost");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let to = warehouse(&url);
    assert!(to.load(one()).await.expect("it is loaded")[0].already);
    assert_eq!(rows(&to, FACT).await, ["1|-|-"]);
}

#[tokio::test]
async fn of_two_hosts_one_loads_and_the_other_is_told() {
    let url = database().await;
    let (mut sender, slow) = slow_rows("fact_order", AppendVersions);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(landing(1, vec![slow])).await }
    });
    backend_in_copy(&url).await;
    let to = warehouse(&url);
    let again = || {
        landing(
            1,
            vec![table("fact_order", AppendVersions, &[(1, None, None)], &[])],
        )
    };
    let error = to.load(again()).await.expect_err("another loads");
    assert!(
        matches!(error, WarehouseError::Conflict { .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Conflict);
    sender
        .send(orders(&[(1, None, None)]))
        .await
        .expect("the load reads");
    drop(sender);
    let loaded = first.await.expect("it ends").expect("it is loaded");
    assert_eq!(counts(&loaded[0]), [1, 0, 0, 0]);
    assert!(to.load(again()).await.expect("it is free again")[0].already);
    assert_eq!(rows(&to, FACT).await, ["1|-|-"]);
}

#[tokio::test]
async fn two_warehouses_of_one_database_do_not_meet() {
    let url = database().await;
    let to = warehouse(&url);
    load(
        &to,
        1,
        table("fact_order", AppendVersions, &[(1, None, None)], &[]),
    )
    .await;
    let (mut sender, slow) = slow_rows("fact_order", AppendVersions);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(landing(2, vec![slow])).await }
    });
    backend_in_copy(&url).await;
    let other = PostgresWarehouse::new(&url, "Other \"star\"").expect("a schema's name");
    load(
        &other,
        1,
        table("fact_order", AppendVersions, &[(5, None, None)], &[5]),
    )
    .await;
    load(&other, 2, table("fact_order", AppendVersions, &[], &[5])).await;
    sender
        .send(orders(&[(2, None, None)]))
        .await
        .expect("the load reads");
    drop(sender);
    first.await.expect("it ends").expect("it is loaded");
    assert_eq!(rows(&to, CURRENT).await, ["1|1|-|-", "2|2|-|-"]);
    assert!(rows(&other, CURRENT).await.is_empty());
    assert_eq!(rows(&other, FACT).await, ["5|-|-"]);
}

#[tokio::test]
async fn an_error_in_the_rows_leaves_nothing() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Upsert, &[(1, None, None)], &[])).await;
    let broken = WarehouseError::Query("the object is damaged".into());
    let failing = TableLoad {
        rows: stream::iter([Ok(orders(&[(3, None, None)])), Err(broken.into())]).boxed(),
        ..table("fact_order", AppendVersions, &[], &[])
    };
    let error = to
        .load(landing(
            2,
            vec![
                table("dim_order", Upsert, &[(2, None, None)], &[1]),
                failing,
            ],
        ))
        .await
        .expect_err("the rows end with an error");
    assert_eq!(
        error.to_string(),
        "the rows for fact_order could not be read"
    );
    assert!(error.source().is_some());
    assert_eq!(rows(&to, DIMENSION).await, ["1|-|-"]);
    assert_eq!(to.tables().await.expect("an answer"), ["dim_order"]);
    assert_eq!(
        to.ledger()
            .await
            .expect("an answer")
            .through("dim_order", "totesys"),
        1
    );
    let again = to
        .load(landing(
            2,
            vec![
                table("dim_order", Upsert, &[(2, None, None)], &[1]),
                table("fact_order", AppendVersions, &[(3, None, None)], &[]),
            ],
        ))
        .await
        .expect("the lock is free at once");
    assert_eq!(
        again.iter().map(counts).collect::<Vec<_>>(),
        [[1, 0, 1, 0], [1, 0, 0, 0]]
    );
}

#[tokio::test]
async fn a_load_whose_server_goes_away_leaves_nothing_and_is_completed_later() {
    let url = database().await;
    let (mut sender, slow) = slow_rows("fact_order", AppendVersions);
    let dimension = || table("dim_order", Upsert, &[(1, None, None)], &[]);
    let first = tokio::spawn({
        let to = warehouse(&url);
        let tables = vec![dimension(), slow];
        async move { to.load(landing(1, tables)).await }
    });
    sender
        .send(orders(&[(1, None, None)]))
        .await
        .expect("the load reads");
    let backend = backend_in_copy(&url).await;
    execute(&url, &format!("select pg_terminate_backend({backend})")).await;
    // The load notices when it sends; rows go on until it does.
    while sender.send(orders(&[(2, None, None)])).await.is_ok() {}
    let error = first
        .await
        .expect("it ends")
        .expect_err("its server is gone");
    assert!(
        matches!(error, WarehouseError::Unavailable { .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let to = warehouse(&url);
    assert!(to.tables().await.expect("an answer").is_empty());
    let fact = table("fact_order", AppendVersions, &[(1, None, None)], &[]);
    let loaded = to
        .load(landing(1, vec![dimension(), fact]))
        .await
        .expect("it is completed");
    assert!(loaded.iter().all(|table| counts(table) == [1, 0, 0, 0]));
}

#[tokio::test]
async fn a_load_that_is_dropped_leaves_nothing() {
    let url = database().await;
    let (_sender, slow) = slow_rows("fact_order", AppendVersions);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(landing(1, vec![slow])).await }
    });
    let backend = backend_in_copy(&url).await;
    first.abort();
    until_none(&url, &format!("pid = {backend}")).await;
    let to = warehouse(&url);
    assert!(to.tables().await.expect("an answer").is_empty());
    load(
        &to,
        1,
        table("fact_order", AppendVersions, &[(1, None, None)], &[]),
    )
    .await;
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_a_wrong_login_is_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    drop(listener);
    let nobody = warehouse(&format!("postgresql://postgres@127.0.0.1:{port}/x"));
    let error = nobody.ledger().await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let url = database().await;
    let stranger = url.replace("postgres@", "stranger@");
    let error = warehouse(&stranger)
        .ledger()
        .await
        .expect_err("no such user");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(chain(&error).contains("stranger"), "{}", chain(&error));
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_it_lacks() {
    let url = database().await;
    execute(&url, "create role clerk_a login").await;
    let clerk = warehouse(&url.replace("postgres@", "clerk_a@"));
    let error = clerk
        .load(landing(1, vec![table("dim_order", Upsert, &[], &[])]))
        .await
        .expect_err("it may not make schemas");
    assert!(
        chain(&error).contains(
            "refused to make the schema tidemill for its records: ERROR: permission denied"
        ),
        "{}",
        chain(&error)
    );
    assert_eq!(error.kind(), ErrorKind::Config);
}

// Views and queries.

#[tokio::test]
async fn a_second_name_is_a_view_with_a_current_one_beside_it() {
    let url = database().await;
    let to = warehouse(&url);
    let fact = |rows: &[OrderRow<'_>]| TableLoad {
        alias: Some("fact_orders".into()),
        record_id: Some("order_record_id".into()),
        ..table("fact_order", AppendVersions, rows, &[])
    };
    load(&to, 1, fact(&[(1, Some(1), None)])).await;
    let definition = "select sum(xmin::text::bigint)::bigint from pg_class
                       where relkind = 'v' and relnamespace = 'star'::regnamespace";
    let made = number(&url, definition).await;
    assert!(
        load(&to, 2, fact(&[(1, Some(2), None)]))
            .await
            .notes
            .is_empty()
    );
    assert_eq!(
        number(&url, definition).await,
        made,
        "views were made again"
    );
    assert_eq!(
        to.tables().await.expect("an answer"),
        [
            "fact_order",
            "fact_order_current",
            "fact_orders",
            "fact_orders_current"
        ]
    );
    assert_eq!(
        rows(
            &to,
            "select units from fact_orders order by order_record_id"
        )
        .await,
        ["1", "2"]
    );
    assert_eq!(
        rows(&to, "select * from fact_orders_current").await,
        ["2|1|2|-"]
    );
}

#[tokio::test]
async fn a_view_that_cannot_be_made_is_a_note() {
    let url = database().await;
    execute(
        &url,
        "create schema star; create view star.fact_order_current as select 1 as mine;
         create table star.fact_order (fact_order_record_id serial primary key, order_id int, units int, code text)",
    )
    .await;
    let to = warehouse(&url);
    let loaded = load(
        &to,
        1,
        table("fact_order", AppendVersions, &[(1, None, None)], &[]),
    )
    .await;
    assert_eq!(
        loaded.notes,
        ["`fact_order_current` was there already and is left as it is"]
    );
    execute(
        &url,
        "drop view star.fact_order_current; create role clerk_b login; grant usage on schema star to clerk_b;
         grant select, insert on star.fact_order to clerk_b;
         grant usage on star.fact_order_fact_order_record_id_seq to clerk_b;
         grant usage on schema tidemill to clerk_b; grant all on all tables in schema tidemill to clerk_b",
    )
    .await;
    let clerk = warehouse(&url.replace("postgres@", "clerk_b@"));
    let loaded = load(
        &clerk,
        2,
        table("fact_order", AppendVersions, &[(2, None, None)], &[]),
    )
    .await;
    assert_eq!(
        loaded.notes,
        ["the view `fact_order_current` could not be made: permission denied for schema star"]
    );
    assert_eq!(counts(&loaded), [1, 0, 0, 0]);
}

#[tokio::test]
async fn the_current_view_walks_the_index() {
    let url = database().await;
    let to = warehouse(&url);
    let many: Vec<OrderRow<'_>> = (0..20_000).map(|key| (key, None, None)).collect();
    load(&to, 1, table("fact_order", AppendVersions, &many, &[])).await;
    execute(&url, "analyze star.fact_order").await;
    let plan = rows(
        &to,
        "explain select * from fact_order_current where order_id = 77",
    )
    .await;
    assert!(
        plan.iter()
            .any(|line| line.contains("Index Scan using fact_order_order_id")),
        "{plan:#?}"
    );
}

#[tokio::test]
async fn a_query_answers_in_types_or_in_the_servers_text() {
    let url = database().await;
    let to = warehouse(&url);
    let batch = query(
        &to,
        "select 1::smallint as a, 1.50::numeric(10,2) as b, 1.50 + 1 as c, 'x'::varchar(3) as d,
                '{\"k\": 1}'::jsonb as e, '00010203-0405-0607-0809-0a0b0c0d0e0f'::uuid as f,
                interval '1 day 2 hours' as g, array[1.5, null]::numeric(3,1)[] as h, inet '10.0.0.1' as g,
                null::int as i, timestamptz '2026-01-01 00:00:00+02' as j -- the end",
    )
    .await;
    let types: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    assert_eq!(
        types,
        [
            "a Int16",
            "b Decimal128(10, 2)",
            "c Utf8",
            "d Utf8",
            "e Utf8",
            "f Utf8",
            "g Utf8",
            "h List(Decimal128(3, 1))",
            "g Utf8",
            "i Int32",
            "j Timestamp(µs, \"UTC\")",
        ]
    );
    let row = rows(
        &to,
        "select 1.50::numeric(10,2), 1.50 + 1, '{\"k\": 1}'::jsonb,
                '00010203-0405-0607-0809-0a0b0c0d0e0f'::uuid, interval '1 day 2 hours',
                array[1.5, null]::numeric(3,1)[], inet '10.0.0.1', timestamptz '2026-01-01 00:00:00+02'",
    )
    .await;
    assert_eq!(
        row,
        [
            "1.50|2.50|{\"k\": 1}|00010203-0405-0607-0809-0a0b0c0d0e0f|1 day 02:00:00|[1.5, -]|10.0.0.1/32|2025-12-31T22:00:00Z"
        ]
    );
    assert_eq!(rows(&to, "show server_encoding;").await, ["UTF8"]);
    assert!(rows(&to, "show tables").await.is_empty());
}

#[tokio::test]
async fn a_large_answer_comes_in_batches() {
    let url = database().await;
    let to = warehouse(&url);
    let (_, mut batches) = to
        .query("select g from generate_series(1, 20000) g")
        .await
        .expect("it is a query");
    let mut sizes = Vec::new();
    while let Some(batch) = batches.next().await {
        sizes.push(batch.expect("it is read").num_rows());
    }
    assert_eq!(sizes, [8192, 8192, 3616]);
}

#[tokio::test]
async fn an_answer_that_is_left_ends_in_the_server_too() {
    let url = database().await;
    let to = warehouse(&url);
    let (_, mut endless) = to
        .query("select generate_series(1, 1000000000)")
        .await
        .expect("it is a query");
    assert!(endless.next().await.is_some());
    drop(endless);
    until_none(
        &url,
        "query like '%1000000000%' and pid <> pg_backend_pid()",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_query_is_answered_in_the_servers_words() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Upsert, &[(1, None, None)], &[])).await;
    let cases = [
        (
            "select unit from dim_order",
            "column \"unit\" does not exist",
        ),
        (
            "delete from dim_order",
            "it is a statement without a result",
        ),
        (
            "delete from dim_order returning *",
            "cannot execute DELETE in a read-only transaction",
        ),
        (
            "select 1; drop table dim_order",
            "cannot insert multiple commands",
        ),
        ("select $1::int", "it has a parameter"),
        ("", "it is a statement without a result"),
    ];
    for (sql, expected) in cases {
        let error = match to.query(sql).await {
            Err(error) => error.to_string(),
            Ok((_, mut batches)) => match batches.next().await {
                Some(Err(error)) => error.to_string(),
                other => panic!("{sql} gave {other:?}"),
            },
        };
        assert!(error.starts_with("the query failed: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(rows(&to, DIMENSION).await, ["1|-|-"]);
}

#[test]
fn a_wrong_url_or_schema_is_refused_without_a_connection() {
    let refused = |url, schema| {
        PostgresWarehouse::new(url, schema)
            .expect_err("it is refused")
            .to_string()
    };
    assert_eq!(
        refused("postgresql://a:secret@db/x", "tidemill"),
        "the warehouse URL `postgresql://a:***@db/x` is not usable: the schema `tidemill` is kept for tidemill's own records"
    );
    assert!(!refused("postgresql://a:secret@db/x?y=1", "star").contains("secret"));
}

#[tokio::test]
async fn retractions_may_come_in_several_batches() {
    let url = database().await;
    let to = warehouse(&url);
    let first: Vec<OrderRow<'_>> = (1..=4).map(|key| (key, None, None)).collect();
    load(&to, 1, table("dim_order", Upsert, &first, &[])).await;
    let gone = TableLoad {
        retractions: stream(vec![keys(&[1]), keys(&[]), keys(&[3, 4])]),
        ..table("dim_order", Upsert, &[], &[])
    };
    assert_eq!(counts(&load(&to, 2, gone).await), [0, 0, 3, 0]);
    assert_eq!(rows(&to, DIMENSION).await, ["2|-|-"]);
}
