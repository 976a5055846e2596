//! What the driver and the server report, as errors of a warehouse.

use std::error::Error as StdError;

use crate::connection::postgres::ConnectError;
use crate::warehouse::WarehouseError;

type Cause = Box<dyn StdError + Send + Sync>;

/// SQLSTATE classes that say nothing against the statement: connection, resources, operator, system. And
/// codes of the same kind in other classes: serialization failure, deadlock, lock not available.
const PASSING_CLASSES: [&str; 4] = ["08", "53", "57", "58"];
const PASSING_CODES: [&str; 3] = ["40001", "40P01", "55P03"];
/// The one of class 57 that repeats itself: a query that takes longer than it may.
const QUERY_CANCELED: &str = "57014";

/// Why no connection came about.
pub(super) fn no_connection(target: &str, error: ConnectError) -> WarehouseError {
    match error {
        ConnectError::Url { url, reason } => WarehouseError::Url { url, reason },
        ConnectError::Unavailable { target, cause } => {
            WarehouseError::Unavailable { target, cause }
        }
        ConnectError::Login { target, cause } => WarehouseError::Refused {
            target,
            action: "log in".into(),
            cause: reason(cause),
        },
        other => WarehouseError::Refused {
            target: target.into(),
            action: "open a secure connection".into(),
            cause: Box::new(other),
        },
    }
}

/// Why a statement of ours failed: the server went away, or it refused to `action`.
pub(super) fn statement(
    target: &str,
    action: impl Into<String>,
    error: tokio_postgres::Error,
) -> WarehouseError {
    let target = target.to_owned();
    if passing(&error) {
        return WarehouseError::Unavailable {
            target,
            cause: reason(error),
        };
    }
    WarehouseError::Refused {
        target,
        action: action.into(),
        cause: reason(error),
    }
}

/// Why a query of a user failed, with the server's own words where they are about the query.
pub(super) fn query(target: &str, error: tokio_postgres::Error) -> WarehouseError {
    if passing(&error) {
        return WarehouseError::Unavailable {
            target: target.to_owned(),
            cause: reason(error),
        };
    }
    WarehouseError::Query(message(&error))
}

/// What the server says, in one line.
pub(super) fn message(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
    };
    let mut text = db.message().to_owned();
    if let Some(detail) = db.detail() {
        text.push_str(&format!(" ({detail})"));
    }
    if let Some(hint) = db.hint() {
        text.push_str(&format!("; {hint}"));
    }
    text
}

/// Whether the same statement may succeed later.
pub(super) fn passing(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else {
        return true; // no answer, or one that the driver could not read
    };
    let code = db.code().code();
    let class = code.get(..2).unwrap_or_default();
    code != QUERY_CANCELED && (PASSING_CLASSES.contains(&class) || PASSING_CODES.contains(&code))
}

/// The server's error without the driver's wrapping, which says only "db error".
fn reason(error: tokio_postgres::Error) -> Cause {
    if error.as_db_error().is_none() {
        return Box::new(error);
    }
    match error.into_source() {
        Some(cause) => cause,
        None => "the driver gave no reason".into(),
    }
}
