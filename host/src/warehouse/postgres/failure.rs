//! What the driver and the server report, as errors of a warehouse.

use std::error::Error as StdError;

use tokio_postgres::error::SqlState;

use crate::connection::postgres::{ConnectError, Passing, reason};
use crate::warehouse::WarehouseError;

/// What the user may need to load; asked for in one sentence, whichever of it is missing.
const RIGHTS: &str = "grant the warehouse's user CREATE on the database and the schema, and all rights on its tables";

/// Why no connection came about.
pub(super) fn no_connection(error: ConnectError) -> WarehouseError {
    match error {
        ConnectError::Url { url, reason } => WarehouseError::Url { url, reason },
        other => WarehouseError::Connect(other),
    }
}

/// Why a statement of ours failed: the server went away, or it refused to `action`.
pub(super) fn statement(
    target: &str,
    action: impl Into<String>,
    error: tokio_postgres::Error,
) -> WarehouseError {
    let (target, action) = (target.to_owned(), action.into());
    if let Some(hint) = passing(&error) {
        return WarehouseError::Unavailable {
            target,
            action,
            cause: reason(error),
            hint: hint.into(),
        };
    }
    let hint = match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => RIGHTS,
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
            "the server or the user is set to read only, as a standby is: load into the primary"
        }
        // A column that is to change, and a view of somebody's that shows it.
        Some(&(SqlState::DEPENDENT_OBJECTS_STILL_EXIST | SqlState::FEATURE_NOT_SUPPORTED)) => {
            "drop what stands on it, run again, and make it again after that"
        }
        _ => "check the rights of the warehouse's user and the table's constraints",
    };
    WarehouseError::Refused {
        target,
        action,
        cause: reason(error),
        hint: hint.into(),
    }
}

/// Why a query of a user failed, with the server's own words where they are about the query.
pub(super) fn query(target: &str, error: tokio_postgres::Error) -> WarehouseError {
    // A query that takes longer than it may would do so again.
    if error.code() == Some(&SqlState::QUERY_CANCELED) {
        return WarehouseError::Query(message(&error));
    }
    match passing(&error) {
        Some(hint) => WarehouseError::Unavailable {
            target: target.to_owned(),
            action: "answer the query".into(),
            cause: reason(error),
            hint: hint.into(),
        },
        None => WarehouseError::Query(message(&error)),
    }
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

/// What to do where the same statement may succeed later; `None` where it would be refused again.
fn passing(error: &tokio_postgres::Error) -> Option<&'static str> {
    match Passing::of(error) {
        Some(passing) => Some(passing.hint()),
        // An answer that the driver could not read: the connection is of no use any more.
        None if error.as_db_error().is_none() => Some(Passing::Lost.hint()),
        None => None,
    }
}
