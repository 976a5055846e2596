//! Rows on their way into a table: temporary tables of one transaction, filled by binary COPY.
//!
//! A stage has three tables, which disappear with the transaction: `rows` (`ordinal`, `c0`, `c1` … in the
//! order of the target's columns), `keys` (`c0`, `c1` … in key order; not where there is no key) and `origin`
//! (one row: where the rows come from). Their columns have names of their own so that no name of a table can
//! collide.

use std::pin::pin;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio_postgres::Client;

use super::sql::{ident, join};
use super::target::{LoadColumn, PROVENANCE_PREFIX, Target};
use super::{ddl, failure};
use crate::warehouse::copy::{CopyColumn, Encoder};
use crate::warehouse::{BatchStream, WarehouseError};

/// How much is handed to the socket at once: large enough that messages cost nothing, small enough that
/// a load holds little beside one batch. The driver takes the next piece when the last has been written.
const PIECE_BYTES: usize = 256 * 1024;

/// Where staged rows come from: bound once, read by every statement that applies them.
pub(super) struct Origin {
    pub(super) warehouse: String,
    pub(super) table: String,
    pub(super) run: String,
    pub(super) module: String,
    pub(super) digest: String,
    pub(super) source: String,
    pub(super) landing: i64,
    pub(super) logical_time: SystemTime,
}

/// The staged rows of one table.
pub(super) struct Stage {
    /// The names of the temporary tables.
    pub(super) rows: String,
    pub(super) keys: String,
    pub(super) origin: String,
    pub(super) row_count: u64,
    pub(super) key_count: u64,
}

impl Stage {
    /// Reads both streams to their end. `number` tells the stages of a transaction apart.
    pub(super) async fn fill(
        server: Server<'_>,
        number: usize,
        target: &Target,
        origin: &Origin,
        rows: BatchStream,
        retractions: BatchStream,
    ) -> Result<Self, WarehouseError> {
        let mut stage = Self::of_origin(server, number, target, origin).await?;
        let loaded = loaded(target);
        server.make(target, &stage.rows, &loaded).await?;
        let keys = keys(target);
        if !keys.is_empty() {
            server.make(target, &stage.keys, &keys).await?;
        }
        stage.copy(server, target, rows, retractions).await?;
        Ok(stage)
    }

    /// Holds other rows of the same table instead. A transaction that made tables for each of many landings would run
    /// out of locks, which it keeps to its end.
    pub(super) async fn refill(
        &mut self,
        server: Server<'_>,
        target: &Target,
        origin: &Origin,
        rows: BatchStream,
        retractions: BatchStream,
    ) -> Result<(), WarehouseError> {
        let beside = match target.key.is_empty() {
            true => String::new(),
            false => format!(", {}", self.keys),
        };
        let empty = format!("TRUNCATE {}, {}{beside}", self.rows, self.origin);
        let failed = |error| server.failed(target, error);
        server.client.batch_execute(&empty).await.map_err(failed)?;
        server
            .tell_origin(&self.origin, origin)
            .await
            .map_err(failed)?;
        self.copy(server, target, rows, retractions).await
    }

    /// Copies both streams into tables that are empty.
    async fn copy(
        &mut self,
        server: Server<'_>,
        target: &Target,
        rows: BatchStream,
        retractions: BatchStream,
    ) -> Result<(), WarehouseError> {
        let (rows_to, keys_to) = (&self.rows, &self.keys);
        self.row_count = server.copy(target, rows_to, &loaded(target), rows).await?;
        let keys = keys(target);
        // Rows without a key are all there are: nothing of theirs is retracted.
        if !keys.is_empty() {
            self.key_count = server.copy(target, keys_to, &keys, retractions).await?;
        }
        Ok(())
    }

    /// The origin alone: of a table that the load makes, whose rows have nothing to be compared with.
    pub(super) async fn of_origin(
        server: Server<'_>,
        number: usize,
        target: &Target,
        origin: &Origin,
    ) -> Result<Self, WarehouseError> {
        let stage = Self {
            rows: format!("pg_temp.tidemill_rows_{number}"),
            keys: format!("pg_temp.tidemill_keys_{number}"),
            origin: format!("pg_temp.tidemill_origin_{number}"),
            row_count: 0,
            key_count: 0,
        };
        server
            .make_origin(&stage.origin, origin)
            .await
            .map_err(|error| server.failed(target, error))?;
        Ok(stage)
    }

    /// Copies rows into a table that was made for them and is empty, and says where they come from; how many they
    /// were.
    pub(super) async fn fill_new(
        &self,
        server: Server<'_>,
        target: &Target,
        rows: BatchStream,
    ) -> Result<u64, WarehouseError> {
        let failed = |error| server.failed(target, error);
        let client = server.client;
        let names = target.columns.iter().map(|column| ident(&column.name));
        let copy = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            target.sql_name(),
            join(names, ", ")
        );
        let count = server.send(target, &copy, &loaded(target), rows).await?;
        let origin = server.quoted(&self.origin, &target.provenance).await;
        for statement in ddl::provenance(target, &origin.map_err(failed)?) {
            client.batch_execute(&statement).await.map_err(failed)?;
        }
        Ok(count)
    }
}

/// The columns of a table with their places in the rows.
fn loaded(target: &Target) -> Vec<(usize, &LoadColumn)> {
    let columns = target.columns.iter();
    columns.map(|column| (column.index, column)).collect()
}

/// The key columns with their places in the retractions, which hold them alone, in key order.
fn keys(target: &Target) -> Vec<(usize, &LoadColumn)> {
    target.key_columns().enumerate().collect()
}

/// The server that is loaded into, inside a transaction.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) client: &'a Client,
    /// Host, port and database.
    pub(super) name: &'a str,
}

impl Server<'_> {
    fn failed(&self, target: &Target, error: tokio_postgres::Error) -> WarehouseError {
        failure::statement(self.name, format!("stage rows for {}", target.table), error)
    }

    async fn make_origin(&self, name: &str, origin: &Origin) -> Result<(), tokio_postgres::Error> {
        let create = format!(
            "CREATE TEMPORARY TABLE {name} (warehouse text, table_name text, run text, module text,
                 digest text, source text, landing bigint, logical_time timestamptz) ON COMMIT DROP"
        );
        self.client.batch_execute(&create).await?;
        self.tell_origin(name, origin).await
    }

    async fn tell_origin(&self, name: &str, origin: &Origin) -> Result<(), tokio_postgres::Error> {
        let insert = format!("INSERT INTO {name} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
        self.client
            .execute(
                &insert,
                &[
                    &origin.warehouse,
                    &origin.table,
                    &origin.run,
                    &origin.module,
                    &origin.digest,
                    &origin.source,
                    &origin.landing,
                    &origin.logical_time,
                ],
            )
            .await?;
        Ok(())
    }

    /// What the origin says in `provenance` columns, as literals that the server quotes.
    async fn quoted(
        &self,
        origin: &str,
        provenance: &[&str],
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        if provenance.is_empty() {
            return Ok(Vec::new());
        }
        let columns = provenance.iter().map(|name| {
            let column = name.strip_prefix(PROVENANCE_PREFIX).unwrap_or(name);
            format!("pg_catalog.quote_literal({})", ident(column))
        });
        let ask = format!("SELECT {} FROM {origin}", join(columns, ", "));
        let row = self.client.query_one(&ask, &[]).await?;
        (0..provenance.len()).map(|i| row.try_get(i)).collect()
    }

    /// Makes the temporary table `name`.
    async fn make(
        &self,
        target: &Target,
        name: &str,
        columns: &[(usize, &LoadColumn)],
    ) -> Result<(), WarehouseError> {
        let declared = columns
            .iter()
            .enumerate()
            .map(|(i, (_, column))| format!("c{i} {}", column.sql_type));
        let create = format!(
            "CREATE TEMPORARY TABLE {name} (ordinal bigint GENERATED ALWAYS AS IDENTITY, {}) ON COMMIT DROP",
            join(declared, ", ")
        );
        let made = self.client.batch_execute(&create).await;
        made.map_err(|error| self.failed(target, error))
    }

    /// Copies `batches` into the temporary table `name`: the number of rows.
    async fn copy(
        &self,
        target: &Target,
        name: &str,
        columns: &[(usize, &LoadColumn)],
        batches: BatchStream,
    ) -> Result<u64, WarehouseError> {
        let failed = |error| self.failed(target, error);
        let names = (0..columns.len()).map(|i| format!("c{i}"));
        let copy = format!(
            "COPY {name} ({}) FROM STDIN (FORMAT binary)",
            join(names, ", ")
        );
        let count = self.send(target, &copy, columns, batches).await?;
        // Without statistics the planner takes every temporary table for one of a few rows.
        self.client
            .batch_execute(&format!("ANALYZE {name}"))
            .await
            .map_err(failed)?;
        Ok(count)
    }

    /// Runs one COPY. An error leaves it unfinished, and the server takes that for its failure.
    async fn send(
        &self,
        target: &Target,
        copy: &str,
        columns: &[(usize, &LoadColumn)],
        mut batches: BatchStream,
    ) -> Result<u64, WarehouseError> {
        let encoder = Encoder::new(
            columns
                .iter()
                .map(|(index, column)| CopyColumn {
                    name: column.name.clone(),
                    index: *index,
                    data_type: column.data_type.clone(),
                    wire: column.wire.clone(),
                })
                .collect(),
        );
        let failed = |error| self.failed(target, error);
        let unreadable = |cause: crate::Error| WarehouseError::Rows {
            table: target.table.clone(),
            cause: Box::new(cause),
        };
        let sink = self
            .client
            .copy_in::<_, Bytes>(copy)
            .await
            .map_err(failed)?;
        let mut sink = pin!(sink);
        let mut buffer = BytesMut::with_capacity(PIECE_BYTES);
        Encoder::begin(&mut buffer);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(unreadable)?;
            let mut rows = encoder
                .rows(&batch)
                .map_err(|error| unreadable(error.into()))?;
            while rows
                .fill(&mut buffer, PIECE_BYTES)
                .map_err(|error| unreadable(error.into()))?
            {
                sink.send(buffer.split().freeze()).await.map_err(failed)?;
            }
        }
        Encoder::end(&mut buffer);
        sink.send(buffer.freeze()).await.map_err(failed)?;
        sink.finish().await.map_err(failed)
    }
}
