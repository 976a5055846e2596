//! Positions in a source, and the windows between them. Plain data: no I/O, no clock.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The identity of one snapshot of a source, as a landing manifest records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "system")]
pub enum Position {
    /// A PostgreSQL snapshot.
    Postgres {
        /// `pg_control_system().system_identifier`, or `None` where the role may not read it.
        system_identifier: Option<String>,
        /// The timeline of the server when the snapshot was taken; `None` where it may not be read.
        timeline: Option<u32>,
        /// The database within the server.
        database: String,
        /// `pg_current_snapshot()` as text: `xmin:xmax:in-progress`, 64-bit ids.
        snapshot: String,
        /// The oldest transaction id that was undecided, with its epoch: 64 bits.
        xmin: u64,
        /// The first id not yet assigned, with its epoch: 64 bits.
        xmax: u64,
    },
    /// A SQLite database file in one read transaction. It carries nothing to compare by.
    Sqlite,
}

impl Position {
    /// Whether both are of one database, in which numbers of tables and columns mean the same. A copy that was
    /// dumped and restored is another one; where a service hides the identifier, the name has to tell.
    pub fn is_same_database(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Postgres {
                    system_identifier,
                    database,
                    ..
                },
                Self::Postgres {
                    system_identifier: other_identifier,
                    database: other_database,
                    ..
                },
            ) => (system_identifier, database) == (other_identifier, other_database),
            _ => false,
        }
    }
}

/// A value of a cursor column, as text that the source can compare and cast back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", content = "value")]
pub enum CursorValue {
    /// An integer or a numeric id.
    Integer(i64),
    /// A timestamp without a zone: microseconds since 1970-01-01T00:00:00 of the source's own calendar.
    Timestamp(i64),
    /// A timestamp with a zone: microseconds since 1970-01-01T00:00:00Z.
    TimestampTz(i64),
}

/// How far a cursor column has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The cursor column.
    pub column: String,
    /// Everything up to this value, less the overlap, has been landed. Never past the source's own clock.
    pub value: CursorValue,
}

/// How far a table is landed whose first landing is made in several parts, by the blocks that its rows lie in.
///
/// It is about the rows that the snapshot of the first part saw and that have not changed since; what changed is read with the
/// last part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// What the blocks are of, by the source's own number: another one after the table was written anew.
    pub file: u64,
    /// Of all blocks before this one every row is landed.
    pub whole: u64,
    /// Of this block and all after it no row is; `None` where every block was begun. Of those between, some are.
    pub begun: Option<u64>,
}

/// Which rows of a table a landing read, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "method")]
pub enum Window {
    /// The first landing of the table: every row.
    First,
    /// A further part of the first landing: rows of blocks that no part before has read, and with the last of them what changed
    /// since the first part.
    Rest {
        /// 64-bit transaction id: what is older has not changed since the first part.
        xmin: u64,
        /// How far the parts before came.
        reached: Reached,
    },
    /// Rows whose transaction id is not older than `xmin`, the one recorded by the previous landing.
    Snapshot {
        /// 64-bit transaction id.
        xmin: u64,
    },
    /// Rows whose cursor value is `from` less the overlap or later, or NULL.
    Cursor {
        /// The watermark before; `None` reads everything.
        from: Option<Watermark>,
        /// What is read again before the watermark, in microseconds for times, in units for integers.
        overlap: i64,
    },
    /// Every row, compared with what has been landed by key and row digest.
    Compare {
        /// Why: for people, and for `runs`.
        reason: CompareReason,
    },
    /// Every row of a table without a key, landed whole when its content changed.
    Replace,
}

/// Why a full compare was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum CompareReason {
    /// `--reconcile` or `--full`.
    Asked,
    /// The interval in the project file has passed.
    Due,
    /// The source cannot tell which rows changed.
    NoCursor,
    /// Another system identifier, timeline or database than the one recorded.
    OtherSystem,
    /// Transaction ids went backwards: a restored or failed-over server.
    IdsWentBack,
    /// The recorded snapshot is 2^31 transactions old or more.
    TooOld,
    /// The columns of the table are not the ones recorded.
    SchemaChanged,
    /// Another table has its name now.
    OtherTable,
    /// The relation has no row versions of its own: a view or a foreign table.
    NoRowVersions,
    /// `count(*)` differs from what landed rows and new keys add up to.
    CountDiffers {
        /// Rows in the source's snapshot.
        source: u64,
        /// Rows landed, plus new keys.
        landed: u64,
    },
    /// The method of finding changes was changed in the project file.
    MethodChanged,
}

impl fmt::Display for CompareReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::Due => f.write_str("the reconcile interval has passed"),
            Self::NoCursor => f.write_str("the source cannot tell which rows changed"),
            Self::OtherSystem => f.write_str("another server or database than last time"),
            Self::IdsWentBack => {
                f.write_str("transaction ids went back: a restored copy or a failover")
            }
            Self::TooOld => f.write_str("the last snapshot is too many transactions ago"),
            Self::SchemaChanged => f.write_str("the table's columns changed"),
            Self::OtherTable => f.write_str("another table has its name now"),
            Self::NoRowVersions => f.write_str("a view or foreign table has no row versions"),
            Self::CountDiffers { source, landed } => {
                write!(
                    f,
                    "the source has {source} rows where {landed} were expected"
                )
            }
            Self::MethodChanged => f.write_str("the way of finding changes was changed"),
        }
    }
}

/// Microseconds since 1970-01-01T00:00:00Z.
pub fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}
