//! The demo: a totesys of any size in SQLite or PostgreSQL, and days that pass in it.
//!
//! ```text
//! model ──rows, commits──▶ database           pure ──▶ I/O
//! ```
//!
//! [`Simulation`] keeps both together. Everything is deterministic: the same options give the same
//! database. [`Story`] shows the straight line at work on one; nothing of the straight line depends on this room.

mod calendar;
mod database;
mod model;
mod names;
mod pcg;
pub mod rows;
mod simulation;
mod story;

pub use model::{Change, Commit, Day, Event, Oddity, Options, Totesys};
pub use simulation::{Generated, Simulation, generate};
pub use story::{Inexact, Story, Told};

use crate::connection::postgres::ConnectError;
use crate::error::{Classify, ErrorKind};

/// What went wrong with the demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The URL cannot be understood.
    #[error("totesys cannot be generated at `{0}`")]
    Url(String),
    /// An option is out of its range.
    #[error("a scale of {0} is not possible")]
    Scale(f64),
    /// There is a totesys already.
    #[error("{target} holds a totesys already")]
    Exists {
        /// The file, or host, port and database.
        target: String,
    },
    /// There is no totesys.
    #[error("{target} holds no totesys")]
    Missing {
        /// The file, or host, port and database.
        target: String,
    },
    /// The SQLite file refused.
    #[error("cannot {action}: {path}")]
    Sqlite {
        /// The file.
        path: String,
        /// What was asked of it.
        action: &'static str,
        /// The driver's error.
        #[source]
        cause: rusqlite::Error,
    },
    /// There is no way to the PostgreSQL server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The PostgreSQL server refused.
    #[error("{target} refused to {action}")]
    Postgres {
        /// Host, port and database.
        target: String,
        /// What was asked of it.
        action: &'static str,
        /// The driver's error.
        #[source]
        cause: tokio_postgres::Error,
    },
    /// Somebody else changed the database while days passed in it.
    #[error("{target} does not hold the row of {table} that should change")]
    Strange {
        /// Host, port and database.
        target: String,
        /// The table.
        table: &'static str,
    },
    /// The database holds what the model never wrote.
    #[error(transparent)]
    Row(#[from] rows::RowError),
}

impl Classify for DemoError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_)
            | Self::Scale(_)
            | Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Sqlite { .. }
            | Self::Postgres { .. } => ErrorKind::Config,
            Self::Connect(error) => error.kind(),
            Self::Strange { .. } | Self::Row(_) => ErrorKind::Data,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Connect(error) => return error.hint(),
                Self::Url(_) => {
                    "write it as sqlite://path/to/file or postgresql://user:password@host/database"
                }
                Self::Scale(_) => "choose one from 0.01 to 20000; 1 is about 14 000 orders",
                Self::Exists { .. } => "name another file or an empty database",
                Self::Missing { .. } => "make one with `tidemill demo generate`",
                Self::Sqlite { .. } => "check that the folder exists and can be written to",
                Self::Postgres { .. } => "let the user own the schema, and nobody else use it",
                Self::Strange { .. } | Self::Row(_) => "generate a fresh totesys",
            }
            .into(),
        )
    }
}
