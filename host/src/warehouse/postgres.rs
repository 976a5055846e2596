//! PostgreSQL as a warehouse.
//!
//! ```text
//! one transaction:  lock ─▶ ledger ─▶ targets ─▶ stage (binary COPY) ─▶ DDL ─▶ apply ─▶ ledger ─▶ views ─▶ commit
//! ```
//!
//! All tables of a landing and their ledger records are one transaction, so exactly once needs nothing else:
//! whatever ends it early leaves nothing, and when only the answer to COMMIT is lost the ledger tells: asked at
//! once where the server answers again, by the next run where not. Everything that can be refused is refused before rows are read; rows are read
//! before any table is altered, so that readers wait for the statements only and not for the source.
//!
//! A table that is made anew goes the same way: see `postgres/rebuild.rs`.
//!
//! Every call has a connection of its own: between landings there is nothing to keep, and a connection that
//! broke is never used again. PostgreSQL 12 and later.

mod apply;
mod bookkeeping;
mod catalog;
mod ddl;
mod decode;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod loading;
mod query;
mod rebuild;
mod sql;
mod staging;
mod target;
mod types;
mod views;

use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::time::timeout;

use crate::connection::postgres::{self, Passing, PgConnection, PgUrl};
use crate::warehouse::{
    BatchStream, Ledger, Load, Rebuild, TableLoaded, Warehouse, WarehouseError, WarehouseOptions,
};
use bookkeeping::Bookkeeping;
use loading::Loading;
use staging::Server;

/// Lets the server look, while it works on a statement, whether we are still there. A host that is killed
/// would otherwise keep its lock for as long as its last statement takes.
const NOTICE_OUR_END: &str = "SET client_connection_check_interval = '1s'";

/// How long a question about the server's own records may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A schema of a PostgreSQL database that rows are loaded into.
#[derive(Debug)]
pub struct PostgresWarehouse {
    url: PgUrl,
    schema: String,
    timeout: Duration,
}

/// What one transaction does.
enum Work {
    Load(Load),
    Rebuild(Rebuild),
}

impl PostgresWarehouse {
    /// The warehouse in `schema` of the database that `url` names. Nothing is contacted yet; the schema is
    /// made by the first load when it is missing.
    ///
    /// # Errors
    /// `Config` when the URL is malformed or the schema's name cannot be used.
    pub fn new(url: &str, options: impl Into<WarehouseOptions>) -> Result<Self, WarehouseError> {
        let WarehouseOptions {
            schema, timeout, ..
        } = options.into();
        let parsed = PgUrl::parse(url).map_err(failure::no_connection)?;
        let unusable = |reason: String| WarehouseError::Url {
            url: crate::connection::redact(url),
            reason,
        };
        if schema == bookkeeping::SCHEMA {
            return Err(unusable(format!(
                "the schema `{schema}` is kept for tidemill's own records"
            )));
        }
        if schema.is_empty() || schema.len() > sql::NAME_BYTES || schema.contains('\0') {
            return Err(unusable(format!(
                "the schema's name `{schema}` must have 1 to {} bytes",
                sql::NAME_BYTES
            )));
        }
        Ok(Self {
            url: parsed,
            schema,
            timeout,
        })
    }

    async fn connect(&self) -> Result<PgConnection, WarehouseError> {
        let connection = postgres::connect(&self.url)
            .await
            .map_err(failure::no_connection)?;
        // Servers before 14, and some systems, cannot: there a statement runs to its end. An error that is
        // not about the setting comes back with the next statement.
        let noticing = connection.batch_execute(NOTICE_OUR_END);
        if let Ok(Err(error)) = timeout(ANSWER_TIMEOUT, noticing).await {
            tracing::debug!(%error, "the server does not watch its connections");
        }
        Ok(connection)
    }

    /// The answer to a question about the server's own records, which takes no time where there is one.
    async fn answer<T>(
        &self,
        action: &str,
        question: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, WarehouseError> {
        match timeout(ANSWER_TIMEOUT, question).await {
            Ok(answer) => answer.map_err(|error| failure::statement(self.target(), action, error)),
            Err(elapsed) => Err(WarehouseError::Unavailable {
                target: self.target().to_owned(),
                action: action.to_owned(),
                cause: Box::new(elapsed),
                hint: Passing::Lost.hint().into(),
            }),
        }
    }

    fn too_long(&self, landing: u64) -> WarehouseError {
        WarehouseError::TooLong {
            target: self.target().to_owned(),
            landing,
            limit: self.timeout,
        }
    }

    /// Does `work` in one transaction; `is_in` says of a table whether a ledger has it.
    async fn transaction(
        &self,
        landing: u64,
        work: Work,
        is_in: impl Fn(&Ledger, &str) -> bool,
    ) -> Result<Vec<TableLoaded>, WarehouseError> {
        let connection = self.connect().await?;
        let loading = Loading {
            server: Server {
                client: &connection,
                name: self.target(),
            },
            books: self.books(&connection),
            timeout: self.timeout,
        };
        let begin = Instant::now();
        let prepared = async {
            match work {
                Work::Load(load) => loading.prepare(load).await,
                Work::Rebuild(rebuild) => loading.rebuild(rebuild).await,
            }
        };
        let loaded = match timeout(self.timeout, prepared).await {
            Ok(Ok(loaded)) => loaded,
            failed => {
                // Waited for, so that who tries again does not find our own lock.
                loading.roll_back().await;
                return failed.unwrap_or_else(|_| Err(self.too_long(landing)));
            }
        };
        // What is left of the time: the transaction ends within it, whatever the server does.
        let left = self.timeout.saturating_sub(begin.elapsed());
        let committed = timeout(left, loading.commit(landing)).await;
        match committed.unwrap_or_else(|_| Err(self.too_long(landing))) {
            Ok(()) => {
                connection.close().await;
                Ok(loaded)
            }
            Err(error) => {
                drop(connection);
                // Only the answer may be lost: then the ledger has the landing, and there is nothing to repeat.
                if self.has(&loaded, is_in).await {
                    tracing::warn!(%error, landing, "the answer to a commit was lost; the ledger has it");
                    return Ok(loaded);
                }
                Err(error)
            }
        }
    }

    /// Whether the ledger says that all of these tables are loaded. A server that cannot be asked says no.
    async fn has(&self, tables: &[TableLoaded], is_in: impl Fn(&Ledger, &str) -> bool) -> bool {
        match self.ledger().await {
            Ok(ledger) => tables.iter().all(|table| is_in(&ledger, &table.table)),
            Err(error) => {
                tracing::debug!(%error, "the ledger cannot be asked");
                false
            }
        }
    }

    fn books<'a>(&'a self, connection: &'a PgConnection) -> Bookkeeping<'a> {
        Bookkeeping {
            client: connection,
            warehouse: &self.schema,
        }
    }
}

#[async_trait]
impl Warehouse for PostgresWarehouse {
    fn target(&self) -> &str {
        self.url.target()
    }

    async fn ledger(&self) -> Result<Ledger, WarehouseError> {
        let connection = self.connect().await?;
        let books = self.books(&connection);
        let ledger = self.answer("read the ledger", books.ledger()).await?;
        connection.close().await;
        Ok(ledger)
    }

    async fn load(&self, load: Load) -> Result<Vec<TableLoaded>, WarehouseError> {
        let (source, landing) = (load.source.clone(), load.landing);
        let is_in = |ledger: &Ledger, table: &str| ledger.through(table, &source) >= landing;
        self.transaction(landing, Work::Load(load), is_in).await
    }

    async fn rebuild(&self, rebuild: Rebuild) -> Result<Vec<TableLoaded>, WarehouseError> {
        let through = rebuild.tables.iter().map(|table| table.through).max();
        let (landing, number) = (through.unwrap_or(0), rebuild.number);
        let is_in = |ledger: &Ledger, table: &str| ledger.rebuilt(table) >= number;
        self.transaction(landing, Work::Rebuild(rebuild), is_in)
            .await
    }

    async fn query(&self, sql: &str) -> Result<(SchemaRef, BatchStream), WarehouseError> {
        let connection = self.connect().await?;
        query::run(connection, self.target(), &self.schema, sql).await
    }

    async fn tables(&self) -> Result<Vec<String>, WarehouseError> {
        let connection = self.connect().await?;
        let tables = catalog::readable(&connection, &self.schema);
        let tables = self.answer("list its tables", tables).await?;
        connection.close().await;
        Ok(tables)
    }

    async fn record_id(&self, table: &str, asked: String) -> Result<String, WarehouseError> {
        let connection = self.connect().await?;
        let found = catalog::record_id(&connection, &self.schema, table, &asked);
        let action = format!("describe the table {table}");
        let found = self.answer(&action, found).await?;
        connection.close().await;
        Ok(found.unwrap_or(asked))
    }
}
