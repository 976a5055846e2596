//! The PostgreSQL warehouse against a real server.

mod columns;
mod failure;
mod landing;
mod ledger;
mod modes;
mod provided;
mod queries;

use std::error::Error as _;
use std::ops::Deref;
use std::sync::Arc;

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
use tidemill::ErrorKind;
use tidemill::connection::postgres::{PgConnection, PgUrl, connect};
use tidemill::contract::LoadMode::{self, AppendVersions, Overwrite, Scd2, Upsert};
use tidemill::error::Classify;
use tidemill::warehouse::postgres::PostgresWarehouse;
use tidemill::warehouse::{TableLoad, TableLoaded, Warehouse, WarehouseError};
use tidemill_tests::postgres::Server;
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
    let server = Server::shared();
    Database {
        url: server.fresh_database().await,
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

const FACT: &str = "select order_id, units, code from fact_order order by fact_order_record_id";
const CURRENT: &str =
    "select fact_order_record_id, order_id, units, code from fact_order_current order by order_id";
const DIMENSION: &str = "select order_id, units, code from dim_order order by order_id";
