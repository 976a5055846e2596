//! Sessions: one read-only transaction per connection, with every setting pinned that changes what a
//! value looks like, how long a statement may take, or in which order rows come.
//!
//! Settings are made with `SET LOCAL` inside the transaction, so that a connection pooler in transaction
//! mode does not lose them or hand them to another client.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;

use super::super::SourceError;
use super::name::literal;
use crate::connection::postgres::{Passing, PgConnection, PgUrl, connect, reason};

/// How long to wait for a lock. Reading waits only for who changes a table's definition; behind a waiting
/// reader of that kind nobody else queues for long either. How long others wait for us is in `patience`.
const LOCK_TIMEOUT: &str = "10s";

/// How often a busy server looks whether its client is still there: an abandoned scan that sends nothing
/// would otherwise run to its end.
const CHECK_INTERVAL: &str = "5s";

/// The oldest server whose answers are understood: it is the first with `pg_current_snapshot()`.
const OLDEST_VERSION: i32 = 130_000;

/// What every session of one snapshot has in common.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) url: PgUrl,
    /// `server_version_num`.
    pub(super) version: i32,
    /// How long the transaction may stay open.
    pub(super) timeout: Duration,
}

/// A connection that sees a snapshot.
pub(super) struct Follower {
    pub(super) connection: PgConnection,
    /// Its process on the server.
    pub(super) pid: i32,
}

impl Session {
    /// Connects and begins the transaction that the others follow: its snapshot is taken by the first query.
    pub(super) async fn lead(
        url: &PgUrl,
        timeout: Duration,
    ) -> Result<(Self, PgConnection), SourceError> {
        let deadline = Instant::now() + timeout;
        let connection = connect(url).await?;
        let leading = Self::begin(url, &connection, timeout);
        let too_long = |_| SourceError::TooLong {
            target: url.target().to_owned(),
            limit: timeout,
        };
        let session = timeout_at(deadline, leading).await.map_err(too_long)??;
        Ok((session, connection))
    }

    async fn begin(
        url: &PgUrl,
        connection: &PgConnection,
        timeout: Duration,
    ) -> Result<Self, SourceError> {
        let begun = |error| failed(url.target(), "begin a read-only transaction", error);
        connection
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(begun)?;
        let version: i32 = connection
            .query_one(
                "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4",
                &[],
            )
            .await
            .and_then(|row| row.try_get(0))
            .map_err(begun)?;
        if version < OLDEST_VERSION {
            return Err(SourceError::Refused {
                target: url.target().to_owned(),
                action: "tell which transactions its snapshot sees".into(),
                cause: format!("its version is {version}").into(),
                hint: Some("use PostgreSQL 13 or newer".into()),
            });
        }
        Ok(Self {
            url: url.clone(),
            version,
            timeout,
        })
    }

    /// Connects and begins a transaction that sees what the exported `snapshot` sees.
    pub(super) async fn follow(&self, snapshot: &str) -> Result<Follower, SourceError> {
        let connection = connect(&self.url).await?;
        connection
            .batch_execute(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
                literal(snapshot)
            ))
            .await
            // Who exported it is gone: the server ended it, or it took longer than it may.
            .map_err(|error| SourceError::Unavailable {
                target: self.url.target().to_owned(),
                cause: reason(error),
            })?;
        self.pin(&connection).await?;
        let row = connection.query_one("SELECT pg_catalog.pg_backend_pid()", &[]);
        let pid = row
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| failed(self.url.target(), "set up the session", error))?;
        Ok(Follower { connection, pid })
    }

    /// Does `work` until `deadline` and not longer.
    pub(super) async fn in_time<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        match timeout_at(deadline, work).await {
            Ok(done) => done,
            Err(_) => Err(SourceError::TooLong {
                target: self.url.target().to_owned(),
                limit: self.timeout,
            }),
        }
    }

    /// Pins the settings of the transaction that is open on `connection`.
    pub(super) async fn pin(&self, connection: &PgConnection) -> Result<(), SourceError> {
        let refused = |error| failed(self.url.target(), "set up the session", error);
        connection
            .batch_execute(&self.settings())
            .await
            .map_err(refused)?;
        if self.version >= 140_000 {
            // Not every server's operating system can do it, and it is a courtesy only.
            let check = format!("SET LOCAL client_connection_check_interval = '{CHECK_INTERVAL}'");
            attempt(connection, &check).await.map_err(refused)?;
        }
        Ok(())
    }

    fn settings(&self) -> String {
        let millis = self.timeout.as_millis().clamp(1, i32::MAX as u128);
        let mut settings = format!(
            "SET LOCAL DateStyle = 'ISO, YMD';
             SET LOCAL IntervalStyle = 'postgres';
             SET LOCAL TimeZone = 'UTC';
             SET LOCAL extra_float_digits = 3;
             SET LOCAL bytea_output = 'hex';
             SET LOCAL xmloption = 'content';
             SET LOCAL quote_all_identifiers = off;
             SET LOCAL row_security = on;
             SET LOCAL synchronize_seqscans = off;
             SET LOCAL max_parallel_workers_per_gather = 0;
             SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
             SET LOCAL statement_timeout = {millis};
             SET LOCAL idle_in_transaction_session_timeout = {millis}"
        );
        if self.version >= 170_000 {
            settings.push_str(&format!("; SET LOCAL transaction_timeout = {millis}"));
        }
        settings
    }
}

/// Runs a statement whose refusal must not end the transaction. Whether it was accepted.
///
/// # Errors
/// The connection's, when it is gone.
pub(super) async fn attempt(
    connection: &PgConnection,
    statement: &str,
) -> Result<bool, tokio_postgres::Error> {
    let guarded = format!("SAVEPOINT attempt; {statement}; RELEASE SAVEPOINT attempt");
    match connection.batch_execute(&guarded).await {
        Ok(()) => Ok(true),
        Err(error) if error.as_db_error().is_some() => {
            give_up(connection).await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Asks for one value that the role may not be allowed to know; `None` when it is refused or NULL.
///
/// # Errors
/// The connection's, when it is gone.
pub(super) async fn ask<T>(
    connection: &PgConnection,
    query: &str,
) -> Result<Option<T>, tokio_postgres::Error>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    connection.batch_execute("SAVEPOINT attempt").await?;
    match connection.query_one(query, &[]).await {
        Ok(row) => {
            let value = row.try_get(0)?;
            connection
                .batch_execute("RELEASE SAVEPOINT attempt")
                .await?;
            Ok(value)
        }
        Err(error) if error.as_db_error().is_some() => {
            give_up(connection).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn give_up(connection: &PgConnection) -> Result<(), tokio_postgres::Error> {
    connection
        .batch_execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt")
        .await
}

/// A failed statement as the error of this room: what time may heal is `Unavailable`.
pub(super) fn failed(
    target: &str,
    action: impl Into<String>,
    error: tokio_postgres::Error,
) -> SourceError {
    let target = target.to_owned();
    match (Passing::of(&error), error.code()) {
        // Not an answer of the server: the network, or an answer that the driver could not read.
        (Some(_), None) => {
            return SourceError::Unavailable {
                target,
                cause: Box::new(error),
            };
        }
        (None, None) => {
            let reason = match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            return SourceError::Protocol { target, reason };
        }
        (Some(why), Some(_)) => {
            return SourceError::Stopped {
                target,
                action: action.into(),
                cause: reason(error),
                why,
            };
        }
        (None, Some(_)) => {}
    }
    let hint = match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Some("grant the role USAGE on the schema and SELECT on the table".into())
        }
        Some(&(SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN)) => {
            Some("the table changed while it was read; run again".into())
        }
        _ => None,
    };
    SourceError::Refused {
        target,
        action: action.into(),
        cause: reason(error),
        hint,
    }
}
