//! The two databases that totesys can be written to. Here is the SQL of the demo, and only here.
//!
//! ```text
//! create ──▶ load* ──▶ loaded          one transaction: all of the history or nothing
//! apply                                one transaction per commit of the model
//! remember                             what the model needs to go on
//! ```

mod postgres;
mod sqlite;

use async_trait::async_trait;

use super::DemoError;
use super::model::{Commit, Memory, sample_stride};
use super::rows::{Row, Table};

/// A database that holds totesys, or will.
///
/// The simulation calls `create`, then `load` as often as there are rows, then `loaded`; after that, or
/// instead, `remember` and `apply`; never two at a time. Ok of `loaded` and of `apply` means committed.
#[async_trait]
pub(super) trait Database: Send {
    /// Begins a transaction and makes the tables.
    ///
    /// # Errors
    /// `Config` when there are tables of these names already.
    async fn create(&mut self) -> Result<(), DemoError>;

    /// Writes rows of the history, parents before children.
    async fn load(&mut self, rows: Vec<Row>) -> Result<(), DemoError>;

    /// Builds what is left of keys and constraints, and commits.
    async fn loaded(&mut self) -> Result<(), DemoError>;

    /// Writes commits, each in a transaction of its own.
    async fn apply(&mut self, commits: Vec<Commit>) -> Result<(), DemoError>;

    /// Reads back what the model needs to go on.
    ///
    /// # Errors
    /// `Config` when there is no totesys, `Data` when it holds what the model never wrote.
    async fn remember(&mut self) -> Result<Memory, DemoError>;
}

/// Opens the database of a `sqlite://` or `postgresql://` URL.
pub(super) async fn open(url: &str) -> Result<Box<dyn Database>, DemoError> {
    match url.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Box::new(sqlite::Sqlite::open(path)?)),
        Some(("postgresql" | "postgres", _)) => {
            Ok(Box::new(postgres::Postgres::connect(url).await?))
        }
        _ => Err(DemoError::Url(crate::connection::redact(url))),
    }
}

const MIGRATIONS: &str = include_str!("sql/migrations.sql");

/// The name of a table as SQL: `transaction` is a word of the language.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// Which rows of `table` the model needs to remember, as a condition; `stride` is that of the sample.
fn remembered_rows(table: Table, stride: i32) -> String {
    let sampled = format!("transaction_id % {stride} = 0");
    let order = |column: &str| {
        format!("{column} IN (SELECT {column} FROM \"transaction\" WHERE {sampled})")
    };
    match table {
        Table::SalesOrder => order("sales_order_id"),
        Table::PurchaseOrder => order("purchase_order_id"),
        Table::Transaction => sampled,
        Table::Payment => format!("{sampled} OR NOT paid"),
        _ => "1 = 1".into(),
    }
}

/// The memory of what was read: `rows` in any order, and the newest transaction of the office hours.
fn memory(
    highest: std::collections::BTreeMap<Table, i32>,
    rows: Vec<Row>,
    newest: Option<Row>,
) -> Memory {
    Memory {
        rows,
        highest,
        last_deal: newest.and_then(|row| match row {
            Row::Transaction(transaction) => Some(transaction.stamps.created_at),
            _ => None,
        }),
    }
}

/// The stride of the sample in a database whose highest keys are `highest`.
fn stride(highest: &std::collections::BTreeMap<Table, i32>) -> i32 {
    sample_stride(highest.get(&Table::Transaction).copied().unwrap_or(0))
}
