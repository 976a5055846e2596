//! Sources: the operational systems that rows come from.
//!
//! ```text
//! Source ──discover──▶ Vec<Discovered>
//!        ──snapshot──▶ Snapshot ──read──▶ batches      one snapshot for all tables of a run
//!                               ──count─▶ rows
//! ```
//!
//! What changed since the last landing is decided by the pipeline; a source only says what it can tell
//! ([`Snapshot::changes_since`]) and reads what it is asked for. Nothing here writes to a source.

mod cursor;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    //! What [`crate::fuzzing`] may see of this room.
    pub(crate) use super::postgres::fuzz::decode;
}
mod postgres;
mod sqlite;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::Stream;

use crate::connection::postgres::{ConnectError, Passing};
use crate::error::{Classify, ErrorKind};
use crate::table::{Identity, Table, TableName};
use crate::watermark::{CompareReason, CursorValue, Position, Reached, Watermark};

/// Batches of one table, in an order that is the same for the same snapshot where the source has one.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, SourceError>> + Send>>;

/// What went wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The URL cannot be understood.
    #[error("the source URL `{url}` is not usable: {reason}")]
    Url {
        /// With the password redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of an embedded source is not there.
    #[error("cannot open {0}: there is no such file")]
    NoFile(String),
    /// There is no connection to the server.
    #[error(transparent)]
    Connect(ConnectError),
    /// The server did not answer, or went away.
    #[error("cannot talk to {target}")]
    Unavailable {
        /// Host, port and database, or the file.
        target: String,
        /// The driver's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered that it cannot do it now.
    #[error("{target} could not {action}")]
    Stopped {
        /// Host, port and database.
        target: String,
        /// What was asked of it: "read table staff".
        action: String,
        /// The server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
        /// Why.
        why: Passing,
    },
    /// Another program writes to the file.
    #[error("{target} is locked by another program")]
    Busy {
        /// The file.
        target: String,
        /// The driver's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The snapshot was open for as long as it may.
    #[error("the snapshot of {target} was open for {} s and was given up", limit.as_secs_f64())]
    TooLong {
        /// Host, port and database, or the file.
        target: String,
        /// How long it may be open.
        limit: Duration,
    },
    /// Somebody wants to change the definition of a table, and reading it was given up for them.
    #[error("reading gave way: somebody waited to change the definition of table `{0}`")]
    GaveWay(TableName),
    /// What was read is not what its own format says.
    #[error("{target} is damaged")]
    Damaged {
        /// The file.
        target: String,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refused a statement.
    #[error("{target} refused to {action}")]
    Refused {
        /// Host, port and database, or the file.
        target: String,
        /// What was asked of it: "read table staff".
        action: String,
        /// The driver's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
        /// What to do next.
        hint: Option<String>,
    },
    /// A table that was asked for is not there.
    #[error("there is no table `{0}` in the source")]
    NoTable(TableName),
    /// A table was emptied or written anew between the snapshot and the reading of it.
    #[error("the table `{0}` was truncated or rewritten while the snapshot was open")]
    Rewritten(TableName),
    /// The definition of a table was changed between the snapshot and the reading of it.
    #[error("the table `{0}` was changed, renamed or dropped while the snapshot was open")]
    Altered(TableName),
    /// Somebody who changes the definition of a table keeps it locked.
    #[error("the table `{0}` is locked by somebody who changes it")]
    Locked(TableName),
    /// A value does not fit the type its column is declared with.
    #[error("column `{column}` holds {value}, which is not a {expected}")]
    Value {
        /// The column.
        column: String,
        /// What was found, described without the value itself where that may be sensitive.
        value: String,
        /// The type that was expected.
        expected: String,
    },
    /// The server's answer does not follow its protocol.
    #[error("{target} sent an answer that cannot be read: {reason}")]
    Protocol {
        /// Host, port and database, or the file.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Classify for SourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Url { .. } | Self::NoFile(_) | Self::NoTable(_) | Self::Refused { .. } => {
                ErrorKind::Config
            }
            Self::Unavailable { .. }
            | Self::Stopped { .. }
            | Self::Busy { .. }
            | Self::TooLong { .. }
            | Self::GaveWay(_)
            | Self::Rewritten(_)
            | Self::Altered(_)
            | Self::Locked(_) => ErrorKind::Unavailable,
            Self::Value { .. } | Self::Damaged { .. } => ErrorKind::Data,
            Self::Protocol { .. } => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Url { .. } => Some(
                "write it as postgresql://user:password@host:5432/database or sqlite://path/to/file"
                    .into(),
            ),
            Self::NoFile(_) => Some(
                "check the path in the source's `url`; a relative one begins at the folder of the project file".into(),
            ),
            Self::Connect(error) => error.hint(),
            Self::Unavailable { .. } => Some(Passing::Lost.hint().into()),
            Self::Stopped { why, .. } => Some(why.hint().into()),
            Self::Busy { .. } => Some("run again when that program has committed".into()),
            Self::TooLong { .. } => Some(
                "nothing was landed; raise `snapshot_timeout` of the source where it needs longer, or find \
                 out what keeps it"
                    .into(),
            ),
            Self::GaveWay(_) => Some(
                "run again when the table has been changed; `yield_after` of the source says how long others wait"
                    .into(),
            ),
            Self::Damaged { .. } => Some(
                "restore it from a backup; `PRAGMA integrity_check` in sqlite3 says more".into(),
            ),
            Self::Rewritten(_) => Some("run again: the next snapshot sees the new rows".into()),
            Self::Altered(_) => Some("run again: the next snapshot sees the table as it is now".into()),
            Self::Locked(_) => Some("run again when the change of the table has ended".into()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::NoTable(_) => Some("list the tables with `tidemill discover`".into()),
            Self::Value { .. } => Some(
                "correct the row or the column's type in the source, or land the column as text: name it under \
                 `text` of the table in the project file"
                    .into(),
            ),
            Self::Protocol { .. } => None,
        }
    }
}

impl SourceError {
    /// Whether time may heal it and the snapshot is good for every other table.
    pub fn is_of_one_table(&self) -> bool {
        matches!(
            self,
            Self::Rewritten(_) | Self::Altered(_) | Self::Locked(_) | Self::GaveWay(_)
        )
    }
}

/// A table with what `discover` tells of it besides its columns.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Discovered {
    /// The table, its columns and its key.
    pub table: Table,
    /// By what it is told from another of its name; `None` where the source has nothing of the kind.
    pub identity: Option<Identity>,
    /// Rows, as the server's statistics estimate them; `None` where it has no statistics.
    pub rows_estimate: Option<u64>,
    /// Bytes of the table without its indexes; `None` where unknown.
    pub bytes_estimate: Option<u64>,
    /// Columns that a column cursor could use, the best first.
    pub cursor_candidates: Vec<CursorCandidate>,
    /// Whether the default way of finding changes works here, or why it does not.
    pub changes: Result<(), CompareReason>,
}

/// A column that tells when a row changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CursorCandidate {
    /// The column.
    pub column: String,
    /// Whether an index begins with it.
    pub indexed: bool,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every row.
    All,
    /// Rows written by transaction `xmin` or a later one: [`Position::Postgres::xmin`] of the landing before.
    SinceTransaction {
        /// 64-bit transaction id.
        xmin: u64,
    },
    /// Rows whose `column` is `from` or later, or NULL.
    SinceCursor {
        /// The cursor column.
        column: String,
        /// The first value read, the overlap already taken off.
        from: CursorValue,
    },
}

/// A table that is read block by block, for who may have to end in the middle and go on in another snapshot.
pub struct Pieces {
    /// Rows of the blocks that were begun before and not ended: some of them were given then.
    pub again: BatchStream,
    /// Rows of blocks that were not begun before.
    pub rows: BatchStream,
    /// How far `rows` is.
    pub pace: Arc<Pace>,
    /// How far it is when both are at their end.
    pub end: Reached,
}

/// How far reading a table block by block is.
#[derive(Debug)]
pub struct Pace {
    file: u64,
    reached: Mutex<Option<Reached>>,
    is_enough: AtomicBool,
}

impl Pace {
    pub(crate) fn new(reached: Reached) -> Self {
        Self {
            file: reached.file,
            reached: Mutex::new(Some(reached)),
            is_enough: AtomicBool::new(false),
        }
    }

    /// How far everything is that was given by now; `None` at the end of the table.
    pub fn reached(&self) -> Option<Reached> {
        self.place().clone()
    }

    pub(crate) fn set(&self, reached: Option<Reached>) {
        *self.place() = reached;
    }

    fn place(&self) -> MutexGuard<'_, Option<Reached>> {
        // It is whole after every call that changes it.
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to end with the blocks that are begun.
    pub fn enough(&self) {
        self.is_enough.store(true, Ordering::Relaxed);
    }

    /// What the blocks are of.
    pub(crate) fn file(&self) -> u64 {
        self.file
    }

    pub(crate) fn is_enough(&self) -> bool {
        self.is_enough.load(Ordering::Relaxed)
    }
}

/// A system that rows come from.
///
/// The pipeline calls `snapshot` once per run and drops it at the end of extraction; `discover` may be
/// called at any time, also concurrently. Ok means that the source answered; nothing is cached.
#[async_trait]
pub trait Source: Send + Sync + std::fmt::Debug {
    /// The system, host and database, without credentials: for messages.
    fn target(&self) -> &str;

    /// The tables that the connection may read, in name order.
    ///
    /// # Errors
    /// `Config` when the login is refused, `Unavailable` when there is no answer.
    async fn discover(&self) -> Result<Vec<Discovered>, SourceError>;

    /// Whether the source answers: asked every few seconds by who wants to know whether a run could begin.
    ///
    /// # Errors
    /// As [`Source::discover`].
    async fn answers(&self) -> Result<(), SourceError> {
        self.snapshot().await.map(drop)
    }

    /// Opens one read-only snapshot of the whole source.
    ///
    /// # Errors
    /// As [`Source::discover`].
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, SourceError>;
}

/// One consistent, read-only view of all tables of a source.
///
/// All methods may be called concurrently and see the same state, however long they take and whatever
/// is committed meanwhile. Where a source cannot keep that up for a table, because its definition was changed
/// or it was written anew meanwhile, they fail for that table and go on for the others. No writer waits for a
/// snapshot: what it locks against a change of a table's definition is locked while that table is read and no
/// longer, and given up for who wants it. It ends when it is dropped, and at the latest after
/// [`SourceOptions::snapshot_timeout`]: then everything of it says so.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// What a manifest records of it.
    fn position(&self) -> &Position;

    /// The source's own clock when the snapshot was taken.
    fn clock(&self) -> DateTime<Utc>;

    /// The tables in this snapshot, in name order, discovered inside it.
    async fn tables(&self) -> Result<Vec<Discovered>, SourceError>;

    /// Whether [`Selection::SinceTransaction`] finds everything that was inserted or updated in `table`
    /// since `previous`, and if not, why a full compare is needed.
    fn changes_since(&self, table: &Table, previous: &Position)
    -> Result<Selection, CompareReason>;

    /// The rows of `table` that `selection` names, in the table's own schema ([`Table::schema`]).
    /// Batches have at most 8 192 rows. An error ends the stream. Streams share the source's connections: one
    /// that is begun and not read on keeps others waiting, until it is dropped.
    async fn read(&self, table: &Table, selection: &Selection) -> Result<BatchStream, SourceError>;

    /// The rows of `table` block by block: all of them, or with `rest` those that [`Reached`] leaves of a snapshot before, as
    /// far as they have not been written by transaction `xmin` or a later one. `None` where the source cannot, or cannot any
    /// more because the rows have been moved since: then [`Snapshot::read`] reads the table whole.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    async fn read_in_pieces(
        &self,
        table: &Table,
        rest: Option<(&Reached, u64)>,
    ) -> Result<Option<Pieces>, SourceError> {
        let _ = (table, rest);
        Ok(None)
    }

    /// The number of rows of `table`.
    async fn count(&self, table: &Table) -> Result<u64, SourceError>;

    /// The highest value of `column` that is not past the source's own clock; `None` when there is none.
    /// Integers have no clock and give their plain maximum.
    async fn watermark(
        &self,
        table: &Table,
        column: &str,
    ) -> Result<Option<Watermark>, SourceError>;
}

/// Opens the source that `url` names.
///
/// # Errors
/// `Config` when the scheme is unknown or the URL is malformed. Nothing is contacted yet.
pub fn open(url: &str, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgresql" | "postgres") => Ok(Box::new(postgres::Postgres::open(url, options)?)),
        Some("sqlite") => Ok(Box::new(sqlite::Sqlite::open(url, options)?)),
        _ => Err(SourceError::Url {
            url: crate::connection::redact(url),
            reason: "its scheme is neither postgresql nor sqlite".into(),
        }),
    }
}

/// What a source may use of the system it reads.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Connections that read at the same time. PostgreSQL needs two more: one holds the snapshot, one
    /// answers questions.
    pub connections: usize,
    /// Tables larger than this are read in several ranges at once.
    pub split_bytes: u64,
    /// How long one run may keep its snapshot open.
    pub snapshot_timeout: Duration,
    /// How long somebody who changes a table's definition waits for us before we stop reading it.
    pub yield_after: Duration,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            connections: 4,
            split_bytes: 64 * 1024 * 1024,
            snapshot_timeout: Duration::from_secs(3600),
            // Writers queue behind who waits, so this is the longest that an application stalls by us.
            yield_after: Duration::from_secs(1),
        }
    }
}
