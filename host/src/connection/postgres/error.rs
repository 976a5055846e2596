//! Why there is no connection, and what to do about it.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::PgUrl;
use crate::error::{Classify, ErrorKind};

/// What went wrong on the way to a PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be understood.
    #[error("the URL `{url}` is not usable: {reason}")]
    Url {
        /// With the password redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The root certificates cannot be read.
    #[error("the root certificates in {origin} cannot be used: {reason}")]
    RootCertificates {
        /// The file, or "the system's store".
        origin: String,
        /// What is wrong with them.
        reason: String,
    },
    /// TLS could not be agreed on, or the server's certificate was not accepted.
    #[error("no secure connection to {target}")]
    Tls {
        /// Host, port and database.
        target: String,
        /// The driver's error.
        #[source]
        cause: tokio_postgres::Error,
    },
    /// The server cannot be reached, or is not ready.
    #[error("cannot reach {target}")]
    Unavailable {
        /// Host, port and database.
        target: String,
        /// The network's or the server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody took the connection, and then the login was not answered.
    #[error("{target} did not answer a login within {} s", limit.as_secs_f64())]
    Silent {
        /// Host, port and database.
        target: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The server has no connection left for us.
    #[error("{target} has no connection left")]
    Full {
        /// Host, port and database.
        target: String,
        /// The server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The login was refused.
    #[error("{target} refused the login")]
    Login {
        /// Host, port and database.
        target: String,
        /// The server's answer.
        reason: LoginReason,
        /// The server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a login was refused, as far as it decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginReason {
    /// The password, or how it is sent.
    Password,
    /// There is no such database.
    Database,
    /// The role may not connect to the database.
    Right,
    /// No line of `pg_hba.conf` lets this role in from here, or there is no such role.
    Rule,
    /// Anything else.
    Other,
}

impl LoginReason {
    fn of(code: Option<&SqlState>) -> Self {
        match code.map(SqlState::code) {
            Some("28P01") => Self::Password,
            Some("3D000") => Self::Database,
            Some("42501") => Self::Right,
            Some("28000") => Self::Rule,
            _ => Self::Other,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Password => {
                "check user and password in the URL, and the variable that they come from"
            }
            Self::Database => "check the name of the database in the URL, or create it",
            Self::Right => "grant the role CONNECT on the database",
            Self::Rule => "check user and `sslmode` in the URL, and the server's pg_hba.conf",
            Self::Other => "check user, password and database in the URL",
        }
    }
}

impl ConnectError {
    /// Whether another password might be the right one.
    pub fn is_of_login(&self) -> bool {
        use LoginReason::{Other, Password, Rule};
        matches!(
            self,
            Self::Login {
                reason: Password | Rule | Other,
                ..
            }
        )
    }
}

impl Classify for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } | Self::Silent { .. } | Self::Full { .. } => {
                ErrorKind::Unavailable
            }
            Self::Url { .. }
            | Self::RootCertificates { .. }
            | Self::Tls { .. }
            | Self::Login { .. } => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Url { .. } => {
                    "write it as postgresql://user:password@host:5432/database?sslmode=verify-full"
                }
                Self::RootCertificates { .. } => {
                    "name a readable PEM file with `sslrootcert`, or use sslrootcert=system"
                }
                Self::Tls { .. } => {
                    "check `sslmode` and `sslrootcert` in the URL and the server's certificate"
                }
                Self::Unavailable { .. } => {
                    "check that the server runs and that host and port are right, and run again"
                }
                Self::Silent { .. } => {
                    "check that it is PostgreSQL that listens there; `connect_timeout=60` in the URL waits longer"
                }
                Self::Full { .. } => {
                    "run again when other sessions have ended, or raise the limit; a source is read over \
                     `connections` and two more"
                }
                Self::Login { reason, .. } => reason.hint(),
            }
            .to_owned(),
        )
    }
}

/// Whether the attempt might succeed with TLS instead of without, or the other way round: the handshake
/// failed, or `pg_hba.conf` has no line for this kind of connection.
pub(super) fn depends_on_tls(error: &tokio_postgres::Error) -> bool {
    is_handshake(error) || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// Whether TLS failed. The driver keeps its error's kind to itself and says it in words only.
fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

pub(super) fn classify(url: &PgUrl, cause: tokio_postgres::Error) -> ConnectError {
    let target = url.target().to_owned();
    if is_handshake(&cause) {
        return ConnectError::Tls { target, cause };
    }
    let code = cause.code().cloned();
    let refused = match &code {
        Some(code) if code.code() == "53300" => {
            let cause = reason(cause);
            return ConnectError::Full { target, cause };
        }
        // Shutdown, start-up, recovery, resources, a disk that is full: a matter of time.
        Some(code) => !matches!(code.code().get(..2), Some("53" | "57" | "58" | "08" | "XX")),
        // Without an answer of the server it was the network, except that the driver itself misses a password.
        None => {
            let reason = std::error::Error::source(&cause);
            reason.is_some_and(|reason| !reason.is::<std::io::Error>())
        }
    };
    let is_password = std::error::Error::source(&cause)
        .is_some_and(|reason| reason.to_string() == "password missing");
    let cause = reason(cause);
    if refused {
        let reason = match is_password {
            true => LoginReason::Password,
            false => LoginReason::of(code.as_ref()),
        };
        ConnectError::Login {
            target,
            reason,
            cause,
        }
    } else {
        ConnectError::Unavailable { target, cause }
    }
}

/// The server's error without the driver's wrapping, which says only "db error", and without the values of rows that
/// it is about.
pub fn reason(error: tokio_postgres::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let Some(said) = error.as_db_error() else {
        return Box::new(error);
    };
    if let Some(said) = without_values(said.code(), said.severity(), said.message()) {
        return said.into();
    }
    match error.into_source() {
        Some(cause) => cause,
        None => "the driver gave no reason".into(),
    }
}

/// What a server says about a value that it does not take (class 22) or a row that breaks a constraint (class 23): the
/// value stands behind a colon, the row in the detail.
fn without_values(code: &SqlState, severity: &str, message: &str) -> Option<String> {
    let class = code.code().get(..2)?;
    if !["22", "23"].contains(&class) {
        return None;
    }
    let message = message.split_once(": \"").map_or(message, |(said, _)| said);
    Some(format!("{severity}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_a_row_is_told_without_the_row() {
        for (code, message, told) in [
            (
                "22P02",
                "invalid input syntax for type integer: \"ada@example.org\"",
                Some("ERROR: invalid input syntax for type integer"),
            ),
            (
                "23514",
                "new row for relation \"staff\" violates check constraint \"mail\"",
                Some("ERROR: new row for relation \"staff\" violates check constraint \"mail\""),
            ),
            ("42P01", "relation \"staff\" does not exist", None),
        ] {
            let found = without_values(&SqlState::from_code(code), "ERROR", message);
            assert_eq!(found.as_deref(), told);
        }
    }
}
