//! Which failures of a statement time may heal, and what an operator does about each.

use tokio_postgres::error::SqlState;

/// Why a statement failed that says nothing against the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// The connection broke off, or the server was ended.
    Lost,
    /// Somebody holds a lock on what is wanted.
    Locked,
    /// An administrator or a limit of the server stopped the statement.
    Cancelled,
    /// The transaction was open for longer than it may.
    Overtime,
    /// The server's disk is full.
    DiskFull,
    /// Memory, connections, files: the server has no more of something.
    Exhausted,
    /// Another transaction was in the way.
    Rival,
}

impl Passing {
    /// Why, or `None` when the statement was refused for what it is, or the driver could not read the answer.
    pub fn of(error: &tokio_postgres::Error) -> Option<Self> {
        let Some(code) = error.code() else {
            let cause = std::error::Error::source(error);
            return cause
                .is_none_or(|cause| cause.is::<std::io::Error>())
                .then_some(Self::Lost);
        };
        Some(match *code {
            SqlState::LOCK_NOT_AVAILABLE => Self::Locked,
            SqlState::QUERY_CANCELED => Self::Cancelled,
            SqlState::DISK_FULL => Self::DiskFull,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Overtime,
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Self::Rival,
            _ => match (code.code(), code.code().get(..2)) {
                // `transaction_timeout` of PostgreSQL 17.
                ("25P04", _) => Self::Overtime,
                (_, Some("08" | "57")) => Self::Lost,
                (_, Some("53" | "58")) => Self::Exhausted,
                _ => return None,
            },
        })
    }

    /// The next step.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Lost => "run again when it answers; there is nothing to clean up first",
            Self::Locked => {
                "somebody holds a lock on the table, to change its definition perhaps; run again when that has ended"
            }
            Self::Cancelled => {
                "an administrator or a limit such as `statement_timeout` stopped it; run again, or raise the limit"
            }
            Self::Overtime => {
                "a transaction was open for longer than the server allows; raise its limit, or run when it is less busy"
            }
            Self::DiskFull => "free some space on the server's disk, and run again",
            Self::Exhausted => {
                "the server has no more of what the cause names; run again when it is less busy"
            }
            Self::Rival => "run again when the other transaction has ended",
        }
    }
}
