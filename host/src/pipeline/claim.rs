//! Claims: which of several runs makes what, so that none does the work of another. A matter of thrift and never of
//! being right: what is right is decided by the conditional create of a manifest and by the ledger, with claims or without.
//!
//! ```text
//! _claims/<table>/<landing>-000.json   created only if absent, by who makes this table of this landing
//! _claims/<table>/<landing>-001.json   by who goes on where the first one died
//! ```
//!
//! A unit of work is one table of one landing: tables are made at the same time, landings of a table one after the other,
//! because a fact keeps every version. A first landing of a large table is several landings, each a range of its blocks, so
//! that no unit is larger than a call can do. A run takes one unit per core, makes it, commits what it has made, and looks
//! again: so a backlog is shared by as many runs as there are tables. Extract takes a source whole, because all of its tables
//! are read in one snapshot. Load takes no claims: a landing is one transaction of the warehouse, which has a lock of its own.
//!
//! A claim lapses with the time that its holder had left when it took it, by the zone's clock, and at once when the same
//! invocation is delivered again: then the one that took it is dead. What a holder leaves undone it is told of again by its
//! own event, and by the next schedule. No wake-up is lost: a holder commits, releases, and only then looks whether
//! there is more, so what another run left to it is seen.
//!
//! Several manifests may come of one landing that way, and a load between them sees some of its tables sooner than others,
//! as it does when a table fails. Each table is whole at any time, and the star is of one time when all have committed.
//!
//! Rejected: a queue, or tables assigned to functions by number, because both go on without noticing that one of them
//! stands still; a lease that is renewed, because a function cannot outlive its deadline; waiting for the holder, because
//! whoever waits is paid by the millisecond.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::run::RunId;
use crate::zone::{Zone, ZoneError};

/// The version of a claim that this version writes, and the newest it reads.
const FORMAT: u32 = 1;
/// More holders than this do not die over the same work: it is left alone then, and the next landing is not.
const TURNS: u32 = 100;

/// How a run shares work with others that are called at the same time.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// What is the same when the same invocation is delivered again.
    pub holder: String,
    /// How long this run can live at most.
    pub lasts: Duration,
    /// Rows of a first landing of a table after which it goes on in another landing.
    pub landing_rows: u64,
}

/// What stands in a claim.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    run: RunId,
    holder: String,
    lasts_ms: u64,
}

/// The claims of one run in one zone.
#[derive(Debug)]
pub(super) struct Claims {
    zone: Arc<dyn Zone>,
    prefix: String,
    run: RunId,
    sharing: Sharing,
    /// By the work that this run has, the keys of its claim and of those that lapsed before.
    held: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Claims {
    /// The claims of `run` below `prefix`, which is empty for the zone itself.
    pub(super) fn new(zone: Arc<dyn Zone>, prefix: &str, run: &RunId, sharing: &Sharing) -> Self {
        Self {
            zone,
            prefix: match prefix {
                "" => "_claims".to_owned(),
                prefix => format!("{prefix}/_claims"),
            },
            run: run.clone(),
            sharing: sharing.clone(),
            held: Mutex::default(),
        }
    }

    /// Takes `work`; false where another run has it.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub(super) async fn take(&self, work: &str) -> Result<bool> {
        let record = Record {
            format: FORMAT,
            run: self.run.clone(),
            holder: self.sharing.holder.clone(),
            lasts_ms: u64::try_from(self.sharing.lasts.as_millis()).unwrap_or(u64::MAX),
        };
        let bytes = Bytes::from(serde_json::to_vec(&record).expect("a claim is plain data"));
        let mut keys = Vec::new();
        for turn in 0..TURNS {
            let key = format!("{}/{work}-{turn:03}.json", self.prefix);
            match self.zone.create(&key, bytes.clone()).await {
                Ok(_) => {
                    keys.push(key);
                    self.held().insert(work.to_owned(), keys);
                    return Ok(true);
                }
                Err(ZoneError::Exists { .. }) if self.has_lapsed(&key, work).await? => {
                    keys.push(key);
                }
                Err(ZoneError::Exists { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Gives `work` back, for others to do or because it is done.
    pub(super) async fn release(&self, work: &str) {
        let keys = self.held().remove(work);
        self.remove(keys.into_iter().flatten()).await;
    }

    /// Gives everything back that this run has. What cannot be given back lapses.
    pub(super) async fn release_all(&self) {
        let held = std::mem::take(&mut *self.held());
        self.remove(held.into_values().flatten()).await;
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        // A map of keys is whole after every call that changes it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn remove(&self, keys: impl Iterator<Item = String>) {
        for key in keys {
            if let Err(error) = self.zone.delete(&key).await {
                tracing::warn!(zone = self.zone.url(), %error, "cannot release a claim");
            }
        }
    }

    /// Whether whoever made this claim is dead. One that is not there any more was released: its work is done, or is told
    /// again to the one that had it.
    async fn has_lapsed(&self, key: &str, work: &str) -> Result<bool> {
        let bytes = match self.zone.read(key).await {
            Err(ZoneError::Missing { .. }) => return Ok(false),
            read => read?,
        };
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else {
            // Of a later version, which will release it.
            return Ok(false);
        };
        if record.format > FORMAT {
            return Ok(false);
        }
        if record.holder == self.sharing.holder && record.run != self.run {
            return Ok(true);
        }
        let Some(created) = self.created(key).await? else {
            return Ok(false);
        };
        let lasts = i64::try_from(record.lasts_ms).unwrap_or(i64::MAX);
        let lasts = TimeDelta::try_milliseconds(lasts).unwrap_or(TimeDelta::MAX);
        let now = self.now(work).await?;
        Ok(now.is_some_and(|now| now - created > lasts))
    }

    /// What the zone says the time is.
    async fn now(&self, work: &str) -> Result<Option<DateTime<Utc>>> {
        let probe = format!("{}/{work}-{}.now", self.prefix, self.run);
        self.zone.create(&probe, Bytes::new()).await?;
        let now = self.created(&probe).await;
        self.zone.delete(&probe).await?;
        now
    }

    async fn created(&self, key: &str) -> Result<Option<DateTime<Utc>>> {
        let page = self.zone.page(key, None).await?;
        let entry = page.entries.into_iter().find(|entry| entry.key == key);
        Ok(entry.map(|entry| entry.created))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::memory::MemoryZone;

    fn claims(zone: &Arc<MemoryZone>, run: u32, holder: &str, lasts: Duration) -> Claims {
        let run = RunId::new(DateTime::UNIX_EPOCH, run);
        let sharing = Sharing {
            holder: holder.into(),
            lasts,
            landing_rows: u64::MAX,
        };
        Claims::new(zone.clone(), "", &run, &sharing)
    }

    const LONG: Duration = Duration::from_secs(900);

    #[tokio::test]
    async fn work_has_one_holder_until_it_is_released() {
        let zone = Arc::new(MemoryZone::default());
        let (one, other) = (claims(&zone, 1, "a", LONG), claims(&zone, 2, "b", LONG));
        assert!(
            one.take("dim_staff/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        assert!(
            !other
                .take("dim_staff/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        assert!(
            other
                .take("dim_staff/0000000002")
                .await
                .expect("a zone in memory answers")
        );
        assert!(
            other
                .take("dim_date/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        one.release("dim_staff/0000000001").await;
        assert!(
            other
                .take("dim_staff/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        other.release_all().await;
        assert!(
            zone.list("_claims/")
                .await
                .expect("a zone in memory answers")
                .is_empty()
        );
    }

    #[tokio::test]
    async fn an_invocation_that_is_delivered_again_goes_on_where_it_died() {
        let zone = Arc::new(MemoryZone::default());
        let died = claims(&zone, 1, "a", LONG);
        assert!(
            died.take("dim_staff/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        let again = claims(&zone, 2, "a", LONG);
        assert!(
            again
                .take("dim_staff/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        let third = claims(&zone, 3, "b", LONG);
        assert!(
            !third
                .take("dim_staff/0000000001")
                .await
                .expect("a zone in memory answers")
        );
        again.release_all().await;
        assert!(
            zone.list("_claims/")
                .await
                .expect("a zone in memory answers")
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_claim_lapses_when_its_holder_cannot_live_any_more() {
        let zone = Arc::new(MemoryZone::default());
        let died = claims(&zone, 1, "a", LONG);
        assert!(died.take("w").await.expect("a zone in memory answers"));
        let other = claims(&zone, 2, "b", LONG);
        zone.age("_claims/w", TimeDelta::seconds(899));
        assert!(!other.take("w").await.expect("a zone in memory answers"));
        zone.age("_claims/w", TimeDelta::seconds(901));
        assert!(other.take("w").await.expect("a zone in memory answers"));
        other.release_all().await;
        assert!(
            zone.list("")
                .await
                .expect("a zone in memory answers")
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_run_does_not_take_its_own_work_twice() {
        let zone = Arc::new(MemoryZone::default());
        let run = claims(&zone, 1, "a", LONG);
        assert!(run.take("w").await.expect("a zone in memory answers"));
        assert!(!run.take("w").await.expect("a zone in memory answers"));
    }
}
