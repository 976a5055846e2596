//! The PostgreSQL source against real servers.

mod changes;
mod consistency;
mod cursor;
mod discovery;
mod fidelity;
mod tls;

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use futures::TryStreamExt;
use tidemill::error::{Classify, ErrorKind};
use tidemill::source::{self, Selection, Snapshot, Source, SourceError, SourceOptions};
use tidemill::table::{Fidelity, KeyOrigin, Table, TableKind};
use tidemill::watermark::{CompareReason, CursorValue, Position};
use tidemill_tests::postgres::Server;
use tokio_postgres::Client;

use crate::snapshots::{found, read, table};

fn open(url: &str) -> Box<dyn Source> {
    source::open(url, &SourceOptions::default()).expect("the URL is right")
}

async fn snapshot(url: &str) -> Box<dyn Snapshot> {
    open(url).snapshot().await.expect("the server runs")
}

/// The values of the first column, an integer.
fn ids(batch: &RecordBatch) -> Vec<i32> {
    batch
        .column(0)
        .as_primitive::<Int32Type>()
        .values()
        .to_vec()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

/// Runs statements that may not share a transaction with others.
async fn run_each<const N: usize>(client: &Client, statements: [&str; N]) {
    for sql in statements {
        run(client, sql).await;
    }
}
