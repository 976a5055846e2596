//! PostgreSQL, version 13 or newer, as a source: binary COPY inside one exported snapshot.
//!
//! ```text
//! snapshot  one leading connection exports it, the others follow it
//! catalog   tables, columns, keys, statistics           types    which Arrow type each is landed as
//! read      COPY, split by ctid, over several connections; the codec makes batches of its bytes
//! target    whether a table is still what the snapshot sees    changes  whether transaction ids tell what changed
//! patience  how long others wait for us
//! ```
//!
//! Only SELECT and COPY TO are sent, in read-only transactions. No lock is taken that an INSERT, UPDATE or
//! DELETE waits for; who wants to change a table's definition waits until one statement has read that table, and
//! not for long.

mod catalog;
mod changes;
mod clock;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod name;
mod patience;
mod read;
mod session;
mod snapshot;
mod target;
mod types;

use async_trait::async_trait;
use tokio::time::Instant;

use self::session::Session;
use self::snapshot::PostgresSnapshot;
use super::{Discovered, Snapshot, Source, SourceError, SourceOptions};
use crate::connection::postgres::{ConnectError, PgUrl, connect};

/// A PostgreSQL database, not contacted yet.
#[derive(Debug)]
pub(super) struct Postgres {
    url: PgUrl,
    options: SourceOptions,
}

impl Postgres {
    pub(super) fn open(url: &str, options: &SourceOptions) -> Result<Self, SourceError> {
        Ok(Self {
            url: PgUrl::parse(url)?,
            options: options.clone(),
        })
    }
}

#[async_trait]
impl Source for Postgres {
    fn target(&self) -> &str {
        self.url.target()
    }

    async fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let timeout = self.options.snapshot_timeout;
        let (session, connection) = Session::lead(&self.url, timeout).await?;
        let discovering = async {
            session.pin(&connection).await?;
            snapshot::discover(&session, &connection).await
        };
        let found = session
            .in_time(Instant::now() + timeout, discovering)
            .await?;
        connection.close().await;
        Ok(found)
    }

    async fn answers(&self) -> Result<(), SourceError> {
        let connection = connect(&self.url).await?;
        let failed = |error| session::failed(self.url.target(), "ask it anything", error);
        connection.batch_execute("SELECT 1").await.map_err(failed)?;
        connection.close().await;
        Ok(())
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, SourceError> {
        Ok(Box::new(
            PostgresSnapshot::take(&self.url, &self.options).await?,
        ))
    }
}

impl From<ConnectError> for SourceError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}
