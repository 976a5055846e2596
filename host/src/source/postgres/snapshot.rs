//! One exported snapshot, and the connections that see it.
//!
//! ```text
//! leader     begins, exports the snapshot, then only looks whether others wait for us
//! questions  one connection for counts, watermarks and the catalog, one question at a time
//! readers    as many as the options allow, one COPY each
//! ```
//!
//! A connection on which something failed is thrown away, never repaired. All of them close with the
//! snapshot, except those of streams that are still being read, and at its deadline without exception.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::cursor::CursorKind;
use super::super::{
    BatchStream, Discovered, Pieces, Selection, Snapshot, SourceError, SourceOptions,
};
use super::clock::{self, Clock};
use super::patience::{Readers, Watch};
use super::read;
use super::session::{Follower, Session, ask, failed};
use super::target::{Seen, Target};
use super::{catalog, changes};
use crate::connection::postgres::{PgConnection, PgUrl};
use crate::table::{Table, TableName};
use crate::watermark::{CompareReason, Position, Reached, Watermark};

/// What the leader is asked before its settings are pinned: the server's own time zone is still in force.
/// `now()` is the start of the transaction, a moment before the snapshot, and so never past it.
const IDENTITY: &str = "
SELECT pg_catalog.pg_export_snapshot(),
       pg_catalog.pg_current_snapshot()::pg_catalog.text,
       pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text,
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text,
       pg_catalog.current_database()::pg_catalog.text,
       pg_catalog.pg_is_in_recovery(),
       (extract(epoch FROM pg_catalog.now()) * 1000000)::pg_catalog.int8,
       (extract(epoch FROM pg_catalog.now() AT TIME ZONE pg_catalog.current_setting('TimeZone'))
        * 1000000)::pg_catalog.int8";

const SYSTEM_IDENTIFIER: &str =
    "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()";

/// The timeline that is being written. The control file would still name the one before for a while after
/// a promotion.
const WRITTEN_TIMELINE: &str = "
SELECT ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
       ::pg_catalog.bit(32)::pg_catalog.int8";

/// The timeline that a standby follows. Naming one too early does no harm: what is replayed until then
/// belongs to its history as well.
const FOLLOWED_TIMELINE: &str = "
SELECT greatest((SELECT max(received_tli) FROM pg_catalog.pg_stat_wal_receiver),
                (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()))::pg_catalog.int8";

/// The timeline of the last checkpoint, for servers that hide the better answers.
const CHECKPOINT_TIMELINE: &str =
    "SELECT timeline_id::pg_catalog.int8 FROM pg_catalog.pg_control_checkpoint()";

/// The connections of one snapshot.
pub(super) struct Connections {
    pub(super) session: Session,
    /// The name under which the others import it.
    exported: String,
    questions: Arc<tokio::sync::Mutex<Option<Follower>>>,
    idle: Arc<Mutex<Vec<Follower>>>,
    places: Arc<Semaphore>,
    most_readers: usize,
    readers: Arc<Readers>,
    deadline: Instant,
    /// Owns the leader.
    _watch: Watch,
}

/// The right to so many connections.
pub(super) type Places = OwnedSemaphorePermit;

impl Connections {
    /// None yet but the leader's, which is watched from here on.
    fn follow(
        session: Session,
        leader: PgConnection,
        exported: String,
        deadline: Instant,
        options: &SourceOptions,
    ) -> Self {
        let most_readers = options.connections.max(1);
        let readers = Arc::new(Readers::default());
        let questions = Arc::new(tokio::sync::Mutex::new(None));
        let idle = Arc::new(Mutex::new(Vec::new()));
        let end = {
            let (questions, idle) = (Arc::clone(&questions), Arc::clone(&idle));
            move || {
                // Those at work see the deadline themselves.
                drop(questions.try_lock().ok().and_then(|mut place| place.take()));
                idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        };
        let watched = Arc::clone(&readers);
        Self {
            _watch: Watch::start(leader, watched, options.yield_after, deadline, end),
            session,
            exported,
            questions,
            idle,
            places: Arc::new(Semaphore::new(most_readers)),
            most_readers,
            readers,
            deadline,
        }
    }

    /// Places for so many connections, all at once. A stream that had some of its places while another had
    /// the rest would wait for ever.
    pub(super) async fn places(&self, count: usize) -> Places {
        let all = u32::try_from(self.most_readers.min(count)).unwrap_or(u32::MAX);
        Arc::clone(&self.places)
            .acquire_many_owned(all)
            .await
            .expect("the semaphore is never closed")
    }

    /// A connection to read with, for who has a place.
    pub(super) async fn reader(&self) -> Result<Follower, SourceError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match idle {
            Some(follower) => Ok(follower),
            None => self.session.follow(&self.exported).await,
        }
    }

    /// Keeps a connection that did its work for the next reader.
    pub(super) fn keep(&self, follower: Follower) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(follower);
    }

    /// Asks something of `table`, or of the whole snapshot, on the connection for questions. A connection
    /// whose question failed, or was given up half-way, is not used again.
    pub(super) async fn question<T>(
        &self,
        table: Option<&TableName>,
        question: impl AsyncFnOnce(&PgConnection) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.in_time(async {
            let mut place = self.questions.lock().await;
            let follower = match place.take() {
                Some(follower) => follower,
                None => self.session.follow(&self.exported).await?,
            };
            let asking = question(&follower.connection);
            let answer = match table {
                Some(table) => self.patiently(table, &follower, asking).await?,
                // The catalog alone is read, and in no time.
                None => asking.await?,
            };
            *place = Some(follower);
            Ok(answer)
        })
        .await
    }

    /// Does `work`, which reads `table` over a follower's connection, unless somebody waits for the table.
    pub(super) async fn patiently<T>(
        &self,
        table: &TableName,
        follower: &Follower,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let reading = self.readers.begin(follower.pid);
        tokio::select! {
            biased;
            () = reading.is_waited_for() => Err(SourceError::GaveWay(table.clone())),
            done = work => done,
        }
    }

    /// Does `work` as long as the snapshot may be open.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        self.session.in_time(self.deadline, work).await
    }

    pub(super) fn target(&self) -> &str {
        self.session.url.target()
    }
}

/// A snapshot of one PostgreSQL database.
pub(super) struct PostgresSnapshot {
    connections: Arc<Connections>,
    options: SourceOptions,
    position: Position,
    clock: Clock,
    /// Tables on which transaction ids do not tell what changed, for a reason that the catalog knows.
    without_ids: BTreeMap<TableName, CompareReason>,
}

impl PostgresSnapshot {
    pub(super) async fn take(url: &PgUrl, options: &SourceOptions) -> Result<Self, SourceError> {
        let deadline = Instant::now() + options.snapshot_timeout;
        let (session, leader) = Session::lead(url, options.snapshot_timeout).await?;
        let identity = identify(&session, &leader);
        let (exported, clock, position) = session.in_time(deadline, identity).await?;
        let mut snapshot = Self {
            connections: Arc::new(Connections::follow(
                session, leader, exported, deadline, options,
            )),
            options: options.clone(),
            position,
            clock,
            without_ids: BTreeMap::new(),
        };
        snapshot.without_ids = snapshot
            .tables()
            .await?
            .into_iter()
            .filter_map(|found| Some((found.table.name, found.changes.err()?)))
            .collect();
        Ok(snapshot)
    }
}

/// Exports the leader's snapshot, finds out what it is a snapshot of, and pins the leader's settings.
async fn identify(
    session: &Session,
    leader: &PgConnection,
) -> Result<(String, Clock, Position), SourceError> {
    let refused = |error| failed(session.url.target(), "export its snapshot", error);
    let row = leader.query_one(IDENTITY, &[]).await.map_err(refused)?;
    let get = |column: usize| row.try_get::<_, String>(column).map_err(refused);
    let clock = Clock {
        utc: row.try_get(6).map_err(refused)?,
        local: row.try_get(7).map_err(refused)?,
    };
    session.pin(leader).await?;
    let timeline = timeline(leader, row.try_get(5).map_err(refused)?)
        .await
        .map_err(refused)?;
    let position = Position::Postgres {
        system_identifier: ask(leader, SYSTEM_IDENTIFIER).await.map_err(refused)?,
        timeline,
        database: get(4)?,
        snapshot: get(1)?,
        xmin: transaction_id(session, &get(2)?)?,
        xmax: transaction_id(session, &get(3)?)?,
    };
    Ok((get(0)?, clock, position))
}

async fn timeline(
    leader: &PgConnection,
    standby: bool,
) -> Result<Option<u32>, tokio_postgres::Error> {
    let best = if standby {
        FOLLOWED_TIMELINE
    } else {
        WRITTEN_TIMELINE
    };
    let timeline: Option<i64> = match ask(leader, best).await? {
        Some(timeline) => Some(timeline),
        None => ask(leader, CHECKPOINT_TIMELINE).await?,
    };
    Ok(timeline.and_then(|timeline| u32::try_from(timeline).ok()))
}

fn transaction_id(session: &Session, text: &str) -> Result<u64, SourceError> {
    text.parse().map_err(|_| SourceError::Protocol {
        target: session.url.target().to_owned(),
        reason: format!("`{text}` is not a transaction id"),
    })
}

/// The tables that the transaction on `connection` sees.
pub(super) async fn discover(
    session: &Session,
    connection: &PgConnection,
) -> Result<Vec<Discovered>, SourceError> {
    let refused = |error| failed(session.url.target(), "list its tables", error);
    connection
        .batch_execute("SET LOCAL search_path = pg_catalog")
        .await
        .map_err(refused)?;
    let found = catalog::discover(connection).await.map_err(refused)?;
    // The role's own path again: functions that a view calls may rely on it.
    connection
        .batch_execute("SET LOCAL search_path TO DEFAULT")
        .await
        .map_err(refused)?;
    Ok(found)
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    fn position(&self) -> &Position {
        &self.position
    }

    fn clock(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.clock.utc).unwrap_or_default()
    }

    async fn tables(&self) -> Result<Vec<Discovered>, SourceError> {
        let connections = &self.connections;
        connections
            .question(None, async |connection| {
                discover(&connections.session, connection).await
            })
            .await
    }

    fn changes_since(
        &self,
        table: &Table,
        previous: &Position,
    ) -> Result<Selection, CompareReason> {
        if let Some(reason) = self.without_ids.get(&table.name) {
            return Err(reason.clone());
        }
        changes::since(table.kind, &self.position, previous)
    }

    async fn read(&self, table: &Table, selection: &Selection) -> Result<BatchStream, SourceError> {
        read::open(&self.connections, &self.options, table, selection).await
    }

    async fn read_in_pieces(
        &self,
        table: &Table,
        rest: Option<(&Reached, u64)>,
    ) -> Result<Option<Pieces>, SourceError> {
        read::in_pieces(&self.connections, &self.options, table, rest).await
    }

    async fn count(&self, table: &Table) -> Result<u64, SourceError> {
        let target = Target::of(table)?;
        let query = format!("SELECT pg_catalog.count(*) FROM {}", target.sql());
        let connections = &self.connections;
        let rows: i64 = connections
            .question(Some(&table.name), async |connection| {
                target.lock(connections, connection, &[]).await?;
                let rows = connection
                    .query_one(&query, &[])
                    .await
                    .and_then(|row| row.try_get(0))
                    .map_err(|error| failed(connections.target(), target.action("count"), error))?;
                target.unlock(connections, connection).await?;
                Ok(rows)
            })
            .await?;
        u64::try_from(rows).map_err(|_| SourceError::Protocol {
            target: connections.target().to_owned(),
            reason: format!("a table has {rows} rows"),
        })
    }

    async fn watermark(
        &self,
        table: &Table,
        column: &str,
    ) -> Result<Option<Watermark>, SourceError> {
        let target = Target::of(table)?;
        let connections = &self.connections;
        let unusable = |reason: &str| SourceError::Refused {
            target: connections.target().to_owned(),
            action: format!("use column `{column}` of table {} as a cursor", table.name),
            cause: reason.into(),
            hint: Some("name a timestamp or integer column, or leave `cursor` out".into()),
        };
        let kind = match table.column(column) {
            None => return Err(unusable("there is no such column")),
            Some(column) => CursorKind::of(column)
                .ok_or_else(|| unusable("it is neither a timestamp nor an integer"))?,
        };
        let query = clock::highest(kind, column, &target.sql(), self.clock)
            .ok_or_else(|| unusable("the server's clock is out of range"))?;
        let highest: Option<i64> = connections
            .question(Some(&table.name), async |connection| {
                let storage = target.lock(connections, connection, &[]).await?;
                let columns = catalog::columns_of(connection, storage.oid).await;
                let columns = columns.map_err(|error| target.refused(connections, error))?;
                let seen = columns.iter().filter(|c| c.column.name == *column);
                let seen: Vec<Seen> = seen.map(Seen::of).collect();
                target
                    .check_columns(connections, connection, storage.oid, &seen)
                    .await?;
                let highest = connection
                    .query_one(&query, &[])
                    .await
                    .and_then(|row| row.try_get(0))
                    .map_err(|error| target.refused(connections, error))?;
                target.unlock(connections, connection).await?;
                Ok(highest)
            })
            .await?;
        Ok(highest.map(|number| Watermark {
            column: column.to_owned(),
            value: kind.value(number),
        }))
    }
}
