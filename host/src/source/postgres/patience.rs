//! Patience: how long a snapshot may stay open, and how long others may wait for what it reads.
//!
//! Reading a table locks it against a change of its definition, and behind whoever waits to make one every
//! writer of the table queues. So the leader, which has nothing else to do, looks twice as often as
//! somebody may wait whether anybody does, and stops the reading of that table. A lock is held while a
//! table is read and not until the end of the snapshot: see `target`.
//!
//! Rejected: `lock_timeout`, which limits our own waiting and nobody's for us; asking `pg_blocking_pids`, which
//! stops the server's lock manager for a moment; giving up the whole snapshot, which would let a nightly change
//! of one table undo the reading of all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::connection::postgres::PgConnection;

/// Who waits for a lock on a table that one of `$1` reads. Reading conflicts with this mode alone.
const WAITING: &str = "
WITH locks AS MATERIALIZED (
     SELECT pid, database, relation, mode, granted FROM pg_catalog.pg_locks
      WHERE locktype = 'relation' AND (NOT granted OR pid = ANY ($1)))
SELECT DISTINCT waiting.pid, ours.pid
  FROM locks waiting JOIN locks ours USING (database, relation)
 WHERE NOT waiting.granted AND waiting.mode = 'AccessExclusiveLock'
   AND ours.granted AND ours.pid = ANY ($1)";

/// Looking more often than this would cost the server more than the waiting does.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);

/// The server processes that read tables of one snapshot, each with the way to stop it.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<BTreeMap<i32, Arc<Notify>>>);

impl Readers {
    /// From here on nobody must wait long for this process. Ends with what is returned.
    pub(super) fn begin(self: &Arc<Self>, pid: i32) -> Reading {
        let stop = Arc::new(Notify::new());
        self.with(|readers| readers.insert(pid, Arc::clone(&stop)));
        Reading {
            readers: Arc::clone(self),
            pid,
            stop,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<i32, Arc<Notify>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A process that reads.
#[derive(Debug)]
pub(super) struct Reading {
    readers: Arc<Readers>,
    pid: i32,
    stop: Arc<Notify>,
}

impl Reading {
    /// Ends when somebody has waited long enough. Whoever reads then drops its connection: a server that
    /// waits for us to take rows hears nothing else.
    pub(super) async fn is_waited_for(&self) {
        self.stop.notified().await;
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readers.with(|readers| readers.remove(&self.pid));
    }
}

/// The task that watches over a snapshot; it ends with its owner, and the leader's connection with it.
#[derive(Debug)]
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    /// Watches until `deadline`; then the leader's transaction ends, and `end` is called.
    pub(super) fn start(
        leader: PgConnection,
        readers: Arc<Readers>,
        yield_after: Duration,
        deadline: Instant,
        end: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self(tokio::spawn(async move {
            let lost = tokio::select! {
                () = sleep_until(deadline) => None,
                error = look(&leader, &readers, yield_after) => Some(error),
            };
            if let Some(error) = lost {
                // The leader is lost: whoever needs it next says so. What is being read may go on.
                tracing::debug!(%error, "nobody looks after the snapshot any more");
                sleep_until(deadline).await;
            }
            drop(leader);
            end();
        }))
    }
}

/// Looks again and again, until the connection fails.
async fn look(
    leader: &PgConnection,
    readers: &Readers,
    yield_after: Duration,
) -> tokio_postgres::Error {
    let mut ticks = interval((yield_after / 2).max(SHORTEST_LOOK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since: BTreeMap<(i32, i32), Instant> = BTreeMap::new();
    loop {
        let now = ticks.tick().await;
        let ours: Vec<i32> = readers.with(|readers| readers.keys().copied().collect());
        if ours.is_empty() {
            since.clear();
            continue;
        }
        let waiting = match waiting(leader, &ours).await {
            Ok(waiting) => waiting,
            Err(error) => return error,
        };
        since.retain(|pair, _| waiting.contains(pair));
        for pair in waiting {
            let waited = now - *since.entry(pair).or_insert(now);
            if waited < yield_after / 2 {
                continue;
            }
            let (theirs, ours) = pair;
            tracing::warn!(
                waiting = theirs,
                "reading gives way to a change of a table's definition"
            );
            if let Err(error) = stop(leader, readers, ours).await {
                return error;
            }
        }
    }
}

/// Who waits, and for which of ours.
async fn waiting(
    leader: &PgConnection,
    ours: &[i32],
) -> Result<BTreeSet<(i32, i32)>, tokio_postgres::Error> {
    let rows = leader.query(WAITING, &[&ours]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Stops what the process does, unless it has ended meanwhile.
async fn stop(
    leader: &PgConnection,
    readers: &Readers,
    pid: i32,
) -> Result<(), tokio_postgres::Error> {
    let reader = readers.with(|readers| readers.get(&pid).cloned());
    if let Some(reader) = reader {
        reader.notify_one();
        // A scan that sends nothing would look for its client only every few seconds.
        let cancel = "SELECT pg_catalog.pg_cancel_backend($1)";
        leader.query_one(cancel, &[&pid]).await?;
    }
    Ok(())
}
