//! PostgreSQL as a warehouse.
//!
//! ```text
//! one transaction:  lock ─▶ ledger ─▶ targets ─▶ stage (binary COPY) ─▶ DDL ─▶ apply ─▶ ledger ─▶ views ─▶ commit
//! ```
//!
//! All tables of a landing and their ledger records are one transaction, so exactly once needs nothing else:
//! whatever ends it early leaves nothing, and when only the answer to COMMIT is lost the next call finds the
//! landing in the ledger. Everything that can be refused is refused before rows are read; rows are read
//! before any table is altered, so that readers wait for the statements only and not for the source.
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
mod sql;
mod staging;
mod target;
mod types;
mod views;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::connection::postgres::{self, PgConnection, PgUrl};
use crate::warehouse::{BatchStream, Ledger, Load, TableLoaded, Warehouse, WarehouseError};
use bookkeeping::Bookkeeping;
use loading::Loading;
use staging::Server;

/// Lets the server look, while it works on a statement, whether we are still there. A host that is killed
/// would otherwise keep its lock for as long as its last statement takes.
const NOTICE_OUR_END: &str = "SET client_connection_check_interval = '1s'";

/// A schema of a PostgreSQL database that rows are loaded into.
#[derive(Debug)]
pub struct PostgresWarehouse {
    url: PgUrl,
    schema: String,
}

impl PostgresWarehouse {
    /// The warehouse in `schema` of the database that `url` names. Nothing is contacted yet; the schema is
    /// made by the first load when it is missing.
    ///
    /// # Errors
    /// `Config` when the URL is malformed or the schema's name cannot be used.
    pub fn new(url: &str, schema: &str) -> Result<Self, WarehouseError> {
        let parsed = PgUrl::parse(url).map_err(|error| failure::no_connection("", error))?;
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
            schema: schema.to_owned(),
        })
    }

    async fn connect(&self) -> Result<PgConnection, WarehouseError> {
        let connection = postgres::connect(&self.url)
            .await
            .map_err(|error| failure::no_connection(self.url.target(), error))?;
        // Servers before 14, and some systems, cannot: there a statement runs to its end. An error that is
        // not about the setting comes back with the next statement.
        if let Err(error) = connection.batch_execute(NOTICE_OUR_END).await {
            tracing::debug!(%error, "the server does not watch its connections");
        }
        Ok(connection)
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
        let ledger = self
            .books(&connection)
            .ledger()
            .await
            .map_err(|error| failure::statement(self.target(), "read the ledger", error))?;
        connection.close().await;
        Ok(ledger)
    }

    async fn load(&self, load: Load) -> Result<Vec<TableLoaded>, WarehouseError> {
        let connection = self.connect().await?;
        let loading = Loading {
            server: Server {
                client: &connection,
                name: self.target(),
            },
            books: self.books(&connection),
        };
        let loaded = loading.run(load).await;
        if loaded.is_err() {
            // Waited for, so that who tries again does not find our own lock.
            loading.roll_back().await;
        } else {
            connection.close().await;
        }
        loaded
    }

    async fn query(&self, sql: &str) -> Result<(SchemaRef, BatchStream), WarehouseError> {
        let connection = self.connect().await?;
        query::run(connection, self.target(), &self.schema, sql).await
    }

    async fn tables(&self) -> Result<Vec<String>, WarehouseError> {
        let connection = self.connect().await?;
        let tables = catalog::readable(&connection, &self.schema)
            .await
            .map_err(|error| failure::statement(self.target(), "list its tables", error))?;
        connection.close().await;
        Ok(tables)
    }
}
