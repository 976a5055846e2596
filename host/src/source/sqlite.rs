//! A SQLite file as a source: opened for reading only, all tables in one read transaction.
//!
//! One blocking task owns the connection and does one short piece of work after the other, a page of rows at
//! most, so that streams and questions may be interleaved in any way. A file in WAL mode goes on being
//! written meanwhile; in the older journal modes SQLite itself lets a writer commit only after the snapshot
//! has ended. The clock is that of the computer this runs on: SQLite has no other.

mod catalog;
mod read;
mod types;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use percent_encoding::percent_decode_str;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::cursor::CursorKind;
use super::{BatchStream, Discovered, Selection, Snapshot, Source, SourceError, SourceOptions};
use crate::table::Table;
use crate::watermark::{CompareReason, Position, Watermark};

/// How long to wait for a writer that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pieces of work that may wait: the work is serial, so a longer queue would only hide it.
const WORK_WAITING: usize = 8;

/// A SQLite file, not opened yet.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    target: String,
    timeout: Duration,
}

impl Sqlite {
    /// `sqlite://folder/file` is relative to the working directory, `sqlite:///folder/file` is not.
    pub(super) fn open(url: &str, options: &SourceOptions) -> Result<Self, SourceError> {
        let wrong = |reason: &str| SourceError::Url {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let path = url.strip_prefix("sqlite://").unwrap_or_default();
        let path = percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| wrong("its path is not UTF-8"))?;
        if path.is_empty() {
            return Err(wrong("it has no path"));
        }
        Ok(Self {
            path: PathBuf::from(path.as_ref()),
            target: path.into_owned(),
            timeout: options.snapshot_timeout,
        })
    }

    async fn begin(&self) -> Result<SqliteSnapshot, SourceError> {
        let (work, mut waiting) = mpsc::channel::<Work>(WORK_WAITING);
        let (begun, beginning) = oneshot::channel();
        let (path, target) = (self.path.clone(), self.target.clone());
        tokio::task::spawn_blocking(move || {
            let connection = match begin(&path, &target) {
                Ok((connection, clock)) => {
                    // Whoever asked may be gone by now; then the queue is closed as well.
                    let _ = begun.send(Ok(clock));
                    connection
                }
                Err(error) => {
                    let _ = begun.send(Err(error));
                    return;
                }
            };
            while let Some(work) = waiting.blocking_recv() {
                work(&connection);
            }
        });
        let clock = beginning.await.map_err(|_| lost(&self.target))??;
        Ok(SqliteSnapshot {
            queue: Queue {
                work,
                target: self.target.clone(),
                limit: self.timeout,
                deadline: Instant::now() + self.timeout,
            },
            clock,
        })
    }
}

#[async_trait]
impl Source for Sqlite {
    fn target(&self) -> &str {
        &self.target
    }

    async fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        self.begin().await?.tables().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, SourceError> {
        Ok(Box::new(self.begin().await?))
    }
}

/// Opens the file, begins the transaction, and reads once so that it has its snapshot.
fn begin(path: &std::path::Path, target: &str) -> Result<(Connection, DateTime<Utc>), SourceError> {
    if !path.exists() {
        return Err(SourceError::NoFile(target.to_owned()));
    }
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; BEGIN")?;
        let clock: String =
            connection.query_row("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')", [], |row| {
                row.get(0)
            })?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok((connection, clock))
    };
    let (connection, clock) = open().map_err(|error| failed(target, "open", error))?;
    let clock = NaiveDateTime::parse_from_str(&clock, "%Y-%m-%d %H:%M:%S%.f").map_err(|_| {
        SourceError::Protocol {
            target: target.to_owned(),
            reason: format!("`{clock}` is not a time"),
        }
    })?;
    Ok((connection, clock.and_utc()))
}

/// A piece of work for the task that owns the connection. It answers through a channel of its own.
type Work = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the task that owns the connection. The task ends when the last of them is dropped.
#[derive(Clone)]
struct Queue {
    work: mpsc::Sender<Work>,
    target: String,
    /// How long the transaction may be open, and until when: a writer of the older journal modes waits for it.
    limit: Duration,
    deadline: Instant,
}

impl Queue {
    /// Does `work` on the connection.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            // Whoever asked may have been dropped meanwhile; nobody misses the answer then.
            let _ = answer.send(work(connection));
        });
        let done = async {
            self.work.send(work).await.map_err(|_| lost(&self.target))?;
            answered.await.map_err(|_| lost(&self.target))?
        };
        let too_long = |_| SourceError::TooLong {
            target: self.target.clone(),
            limit: self.limit,
        };
        timeout_at(self.deadline, done).await.map_err(too_long)?
    }
}

/// The task that owns the connection is gone without an answer: it panicked, or the runtime shuts down.
fn lost(target: &str) -> SourceError {
    SourceError::Protocol {
        target: target.to_owned(),
        reason: "the task that reads it ended".into(),
    }
}

/// A failed call as the error of this room: what time may heal is `Unavailable`.
fn failed(target: &str, action: impl Into<String>, error: rusqlite::Error) -> SourceError {
    let code = error.sqlite_error_code();
    let target = target.to_owned();
    let action = action.into();
    let cause = plain(error);
    let hint = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            return SourceError::Busy { target, cause };
        }
        Some(ErrorCode::SystemIoFailure) => return SourceError::Unavailable { target, cause },
        Some(ErrorCode::DatabaseCorrupt) => return SourceError::Damaged { target, cause },
        Some(ErrorCode::NotADatabase) => {
            Some("name a SQLite file; where it was one, restore it from a backup".into())
        }
        Some(ErrorCode::CannotOpen) => Some(
            "check the rights; a file in WAL mode needs its folder writable for the `-shm` file"
                .into(),
        ),
        _ => None,
    };
    SourceError::Refused {
        target,
        action,
        cause,
        hint,
    }
}

/// SQLite's words without its number, which says the same once more.
fn plain(error: rusqlite::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(words)) => words.into(),
        other => Box::new(other),
    }
}

/// A read transaction on a SQLite file.
struct SqliteSnapshot {
    queue: Queue,
    clock: DateTime<Utc>,
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn position(&self) -> &Position {
        &Position::Sqlite
    }

    fn clock(&self) -> DateTime<Utc> {
        self.clock
    }

    async fn tables(&self) -> Result<Vec<Discovered>, SourceError> {
        let target = self.queue.target.clone();
        self.queue
            .run(move |connection| {
                let listed = catalog::list(connection)
                    .map_err(|error| failed(&target, "list its tables", error))?;
                Ok(listed.into_iter().map(|listed| listed.found).collect())
            })
            .await
    }

    fn changes_since(&self, _: &Table, _: &Position) -> Result<Selection, CompareReason> {
        Err(CompareReason::NoCursor)
    }

    async fn read(&self, table: &Table, selection: &Selection) -> Result<BatchStream, SourceError> {
        read::open(self.queue.clone(), table, selection).await
    }

    async fn count(&self, table: &Table) -> Result<u64, SourceError> {
        let target = self.queue.target.clone();
        let table = table.name.clone();
        self.queue
            .run(move |connection| {
                let query = format!("SELECT count(*) FROM {}", read::quote(table.as_str()));
                let rows: i64 = connection
                    .query_row(&query, [], |row| row.get(0))
                    .map_err(|error| failed(&target, format!("count table {table}"), error))?;
                Ok(rows.unsigned_abs())
            })
            .await
    }

    async fn watermark(
        &self,
        table: &Table,
        column: &str,
    ) -> Result<Option<Watermark>, SourceError> {
        let unusable = |reason: &str| SourceError::Refused {
            target: self.queue.target.clone(),
            action: format!("use column `{column}` of table {} as a cursor", table.name),
            cause: reason.into(),
            hint: Some("name a timestamp or integer column, or leave `cursor` out".into()),
        };
        let described = table
            .column(column)
            .ok_or_else(|| unusable("there is no such column"))?;
        let kind = CursorKind::of(described)
            .ok_or_else(|| unusable("it is neither a timestamp nor an integer"))?;
        // SQLite's CURRENT_TIMESTAMP is in UTC, so a column without a zone is taken to be as well.
        let limit = match kind {
            CursorKind::Integer => i64::MAX,
            CursorKind::Timestamp | CursorKind::TimestampTz => self.clock.timestamp_micros(),
        };
        let mut only = table.clone();
        only.columns.retain(|c| c.name == column);
        let highest = read::highest(self.queue.clone(), &only, limit).await?;
        Ok(highest.map(|number| Watermark {
            column: column.to_owned(),
            value: kind.value(number),
        }))
    }
}
