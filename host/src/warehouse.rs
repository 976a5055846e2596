//! Warehouses: where rows are analysed.
//!
//! ```text
//! ledger ──▶ which landings each table has          (pending work = manifests minus this)
//! load   ──▶ all tables of one landing and their ledger records, together
//! rebuild ─▶ tables with all of their landings in the place of what they were, together
//! query  ──▶ batches
//! ```

mod copy;
#[cfg(feature = "delta")]
mod delta;
pub mod postgres;

#[cfg(feature = "delta")]
pub use self::delta::Delta;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::config::StorePlan;
use crate::connection::postgres::ConnectError;
use crate::connection::traffic::Traffic;
use crate::contract::{LoadMode, ModuleRef};
use crate::error::{Classify, ErrorKind};
use crate::run::RunId;

/// Batches handed to or received from a warehouse.
pub type BatchStream = BoxStream<'static, Result<RecordBatch, crate::Error>>;

/// What went wrong with a warehouse.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The URL cannot be understood.
    #[error("the warehouse URL `{url}` is not usable: {reason}")]
    Url {
        /// With the password redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL names a Delta warehouse, and this build cannot open one.
    #[cfg(not(feature = "delta"))]
    #[error("this build of tidemill has no Delta warehouse")]
    WithoutDelta,
    /// There is no connection to the server.
    #[error(transparent)]
    Connect(ConnectError),
    /// The server went away, or has no more of something.
    #[error("{target} could not {action}")]
    Unavailable {
        /// Host, port and database.
        target: String,
        /// "load into fact_payment".
        action: String,
        /// The network's or the server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
        /// What to do next.
        hint: String,
    },
    /// The server may have committed: its answer was lost.
    #[error("{target} did not say whether it committed landing {landing}")]
    InDoubt {
        /// Host, port and database.
        target: String,
        /// The landing.
        landing: u64,
        /// The network's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A load took longer than it may.
    #[error("{target} did not load landing {landing} within {} s", limit.as_secs_f64())]
    TooLong {
        /// Host, port and database.
        target: String,
        /// The landing.
        landing: u64,
        /// How long it may take.
        limit: Duration,
    },
    /// The folder cannot be read or written.
    #[error("cannot {action} {path}")]
    Folder {
        /// The folder.
        path: String,
        /// "open", "write".
        action: String,
        /// The system's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The warehouse refused a statement.
    #[error("{target} refused to {action}")]
    Refused {
        /// Host, port and database, or the folder.
        target: String,
        /// "append to fact_payment".
        action: String,
        /// The driver's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
        /// What to do next.
        hint: String,
    },
    /// A table that exists already does not fit the rows.
    #[error("the table {table} of the warehouse {problem}")]
    Table {
        /// Schema and table.
        table: String,
        /// "has no column staff_id, which is its key".
        problem: String,
    },
    /// A record that the warehouse keeps of itself cannot be read.
    #[error("the record {record} is damaged")]
    Damaged {
        /// The file.
        record: String,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later version of tidemill wrote a record that the warehouse keeps of itself.
    #[error("the record {record} has format {found}, and this version reads up to {known}")]
    TooNew {
        /// The file.
        record: String,
        /// The format it says.
        found: u64,
        /// The newest format that is understood.
        known: u32,
    },
    /// The query of a user is wrong.
    #[error("the query failed: {0}")]
    Query(String),
    /// Another host is loading.
    #[error("another run loads into {target} at this moment")]
    Conflict {
        /// Host, port and database, or the folder.
        target: String,
    },
    /// The stream of rows ended with an error; nothing was loaded.
    #[error("the rows for {table} could not be read")]
    Rows {
        /// The table.
        table: String,
        /// Why.
        #[source]
        cause: Box<crate::Error>,
    },
}

impl Classify for WarehouseError {
    fn kind(&self) -> ErrorKind {
        match self {
            #[cfg(not(feature = "delta"))]
            Self::WithoutDelta => ErrorKind::Config,
            Self::Url { .. }
            | Self::Refused { .. }
            | Self::Table { .. }
            | Self::TooNew { .. }
            | Self::Query(_) => ErrorKind::Config,
            Self::Damaged { .. } => ErrorKind::Data,
            Self::Connect(error) => error.kind(),
            Self::Unavailable { .. }
            | Self::InDoubt { .. }
            | Self::TooLong { .. }
            | Self::Folder { .. } => ErrorKind::Unavailable,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Rows { cause, .. } => cause.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            #[cfg(not(feature = "delta"))]
            Self::WithoutDelta => Some(
                "name a warehouse with postgresql://…, or install tidemill with its default features"
                    .into(),
            ),
            Self::Url { .. } => Some(
                "write it as delta://folder, delta://s3://bucket/prefix or postgresql://user:password@host/database"
                    .into(),
            ),
            Self::Connect(error) => error.hint(),
            Self::Unavailable { hint, .. } | Self::Refused { hint, .. } => Some(hint.clone()),
            Self::InDoubt { .. } => {
                Some("run again when it answers: the ledger tells, and nothing is loaded twice".into())
            }
            Self::TooLong { .. } => Some(
                "nothing of it was loaded; run again, and where it needs longer raise `timeout` of the warehouse"
                    .into(),
            ),
            Self::Folder { .. } => Some(
                "check that the folder can be written and its disk has space, and run again".into(),
            ),
            Self::Table { .. } => Some("alter the table, or load into another schema".into()),
            Self::Damaged { .. } => Some(
                "restore it from a backup, or move the warehouse's folder away: the next run loads \
                 everything again from the processed zone"
                    .into(),
            ),
            Self::TooNew { .. } => {
                Some("install the version of tidemill that wrote it, or a later one".into())
            }
            Self::Query(_) => Some("list the tables with `tidemill query \"show tables\"`".into()),
            Self::Conflict { .. } => Some("run again when it has ended".into()),
            Self::Rows { cause, .. } => cause.hint().map(str::to_owned),
        }
    }
}

/// What has been loaded: for every table and source, the newest landing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By warehouse table, then by source: the sequence of the newest landing that is in the table.
    pub through: BTreeMap<String, BTreeMap<String, u64>>,
    /// By warehouse table: the number of the rebuild that is in it.
    pub rebuilt: BTreeMap<String, u64>,
}

impl Ledger {
    /// The newest landing of `source` in `table`; 0 when none was loaded.
    pub fn through(&self, table: &str, source: &str) -> u64 {
        self.through
            .get(table)
            .and_then(|sources| sources.get(source))
            .copied()
            .unwrap_or(0)
    }

    /// The number of the rebuild that `table` is of; 0 when it never was rebuilt.
    pub fn rebuilt(&self, table: &str) -> u64 {
        self.rebuilt.get(table).copied().unwrap_or(0)
    }
}

/// All tables of one landing.
pub struct Load {
    /// The run that loads.
    pub run: RunId,
    /// The source's name.
    pub source: String,
    /// The landing manifest the rows come from: the ledger's key together with table and source.
    pub landing: u64,
    /// The logical time of the landing.
    pub logical_time: DateTime<Utc>,
    /// The tables, in the order to apply them: dimensions before facts.
    pub tables: Vec<TableLoad>,
}

/// Tables made anew from all of their landings.
pub struct Rebuild {
    /// The run that loads.
    pub run: RunId,
    /// The number of the rebuild, by which the ledger tells that it was done: later ones are higher.
    pub number: u64,
    /// The tables.
    pub tables: Vec<TableRebuild>,
}

/// All landings of one table.
pub struct TableRebuild {
    /// The source's name.
    pub source: String,
    /// The newest landing that is in the table, whether that brought something for it or not.
    pub through: u64,
    /// Columns that the table had of earlier rows and these do not have.
    pub gone: BTreeSet<String>,
    /// What each brought, the oldest first: one at least, and all with the same columns.
    pub landings: Vec<LandingRows>,
}

/// What one landing brought for one table.
pub struct LandingRows {
    /// The landing.
    pub landing: u64,
    /// Its logical time.
    pub logical_time: DateTime<Utc>,
    /// The rows.
    pub load: TableLoad,
}

/// The rows of one table.
pub struct TableLoad {
    /// The table.
    pub table: String,
    /// The columns of `rows`.
    pub schema: SchemaRef,
    /// The columns that identify a row; those of `retractions`, in this order.
    pub primary_key: Vec<String>,
    /// How the rows are applied.
    pub mode: LoadMode,
    /// The serial column of an `append-versions` table, or `None` for `<table>_record_id`.
    pub record_id: Option<String>,
    /// A second name for the table.
    pub alias: Option<String>,
    /// The code that made the rows.
    pub module: ModuleRef,
    /// The run that transformed them.
    pub transform_run: RunId,
    /// Rows, each key once, in the order in which new versions are numbered.
    pub rows: BatchStream,
    /// Keys to take away. No key is both here and in `rows`.
    pub retractions: BatchStream,
}

/// What a load did to one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct TableLoaded {
    /// The table.
    pub table: String,
    /// Whether the ledger had it already, so that nothing was done.
    pub already: bool,
    /// Rows inserted: new keys, or new versions.
    pub inserted: u64,
    /// Rows changed in place.
    pub updated: u64,
    /// Rows removed, or versions ended.
    pub removed: u64,
    /// Rows that were equal to what the warehouse had.
    pub unchanged: u64,
    /// Things a person should know: columns that the warehouse's table does not have, rows kept for a foreign key.
    pub notes: Vec<String>,
}

/// A warehouse.
///
/// The pipeline calls `ledger`, then `load` once per pending landing in the order of their sequence, from
/// one task. Delivery is exactly once: Ok of `load` means that rows and ledger records are durable
/// together; after an error or a crash either all of it is there or a second call completes it, and
/// nobody who reads published tables sees a part. Loading what the ledger has is a no-op that says so.
#[async_trait]
pub trait Warehouse: Send + Sync + std::fmt::Debug {
    /// Host and database, the folder, or bucket and prefix, without credentials: for messages.
    fn target(&self) -> &str;

    /// What has been loaded. Ok and empty when the warehouse is new.
    async fn ledger(&self) -> Result<Ledger, WarehouseError>;

    /// Applies all tables of one landing.
    ///
    /// # Errors
    /// `Conflict` when another host loads at the same time; nothing was written then.
    async fn load(&self, load: Load) -> Result<Vec<TableLoaded>, WarehouseError>;

    /// Puts tables that were made anew into the place of what they were: as if their landings had been applied one by
    /// one to tables that are not there. Columns of rows before go from a table that was made by us, where these do not have
    /// them. Whoever
    /// reads sees the table as it was or as it is, and never a part; views and rights stay.
    ///
    /// # Errors
    /// `Conflict` when another host loads at the same time, `Config` when something of others stands on a column that is
    /// to go; nothing was written then.
    async fn rebuild(&self, rebuild: Rebuild) -> Result<Vec<TableLoaded>, WarehouseError>;

    /// Runs a read-only query over published tables and views.
    ///
    /// # Errors
    /// `Config` with the engine's message when the SQL is wrong.
    async fn query(&self, sql: &str) -> Result<(SchemaRef, BatchStream), WarehouseError>;

    /// The names of tables and views that can be queried, in name order.
    async fn tables(&self) -> Result<Vec<String>, WarehouseError>;

    /// The column that numbers the versions of `table`, where `asked` is the one that is asked for: a table that was
    /// there before may do that by a key of its own.
    async fn record_id(&self, _table: &str, asked: String) -> Result<String, WarehouseError> {
        Ok(asked)
    }

    /// Removes files that no table has needed for `age`. A server looks after its own.
    ///
    /// # Errors
    /// `Unavailable` when the files cannot be listed or removed.
    async fn sweep(&self, _age: Duration, _how: Sweep) -> Result<Vec<SweptFile>, WarehouseError> {
        Ok(Vec::new())
    }
}

/// When files are swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Unless it was done within the last day: what a run asks for.
    WhenDue,
    /// At once.
    Now,
    /// Nothing is removed.
    Rehearsal,
}

/// A file that was swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptFile {
    /// The folder of the warehouse.
    pub folder: String,
    /// Its path in there.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written to, by the clock of the disk.
    pub written: DateTime<Utc>,
}

/// What a warehouse may use, besides its URL.
#[derive(Debug, Clone)]
pub struct WarehouseOptions {
    /// The schema that tables are in.
    pub schema: String,
    /// How long the load of one landing may take on a server, and so how long its transaction is open.
    pub timeout: Duration,
    /// The store of a warehouse in a bucket.
    pub store: StorePlan,
}

/// As long as a source's snapshot may be open: what took an hour to read is loaded in one.
pub const TIMEOUT: Duration = Duration::from_secs(3600);

/// A schema, and the usual limits.
impl From<&str> for WarehouseOptions {
    fn from(schema: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            timeout: TIMEOUT,
            store: StorePlan::default(),
        }
    }
}

/// Opens the warehouse that `url` names. Relative folders are below `base`; `traffic` counts what goes to a bucket.
///
/// # Errors
/// `Config` when the scheme is unknown. Nothing is contacted yet.
pub fn open(
    url: &str,
    options: impl Into<WarehouseOptions>,
    base: &std::path::Path,
    traffic: &Traffic,
) -> Result<Box<dyn Warehouse>, WarehouseError> {
    match url.split_once("://") {
        Some(("postgresql" | "postgres", _)) => {
            Ok(Box::new(postgres::PostgresWarehouse::new(url, options)?))
        }
        Some(("delta", folder)) => delta(folder, base, options.into().store, traffic),
        _ => Err(WarehouseError::Url {
            url: crate::connection::redact(url),
            reason: "its scheme is neither delta nor postgresql".into(),
        }),
    }
}

#[cfg(feature = "delta")]
fn delta(
    folder: &str,
    base: &std::path::Path,
    store: StorePlan,
    traffic: &Traffic,
) -> Result<Box<dyn Warehouse>, WarehouseError> {
    Ok(Box::new(Delta::open(folder, base, store, traffic.clone())?))
}

#[cfg(not(feature = "delta"))]
fn delta(
    _: &str,
    _: &std::path::Path,
    _: StorePlan,
    _: &Traffic,
) -> Result<Box<dyn Warehouse>, WarehouseError> {
    Err(WarehouseError::WithoutDelta)
}
