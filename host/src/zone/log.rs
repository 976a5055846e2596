//! A numbered log in a zone: records that are created once, under dense numbers that begin at 1.
//!
//! ```text
//! <prefix>/0000000001.json
//! <prefix>/0000000002.json
//! ```
//!
//! Creating a record is the commit and the lock in one: of two writers of the same number, one is told
//! [`ZoneError::Exists`]. What the records say is the business of the caller.
//!
//! The newest number is found by asking for single keys, never by a listing: a listing may lag behind,
//! costs more with every record, and needs a right that a stage may not have. [`numbers`] says how: 26 questions for a
//! log of 10 000 records. One more question tells the end from a record that was lost.
//!
//! Where every question is a request, a listing gives the guess with which the search begins. It is not trusted: what it
//! shows last need not be the newest, and the number behind that is asked for all the same; and where nobody may list, the
//! search begins at 1. What was found is remembered for the next question of the same process, which then costs one
//! request: records do not go away.

mod memory;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use memory::Memory;

use super::{PAGE, Page, Written, Zone, ZoneError};
use crate::numbers;

/// Records under dense numbers in one folder of a zone. Cheap to clone.
#[derive(Clone)]
pub struct NumberedLog {
    zone: Arc<dyn Zone>,
    prefix: String,
}

impl NumberedLog {
    /// The log in the folder `prefix` of `zone`; the prefix has no slash at its end.
    pub fn new(zone: Arc<dyn Zone>, prefix: impl Into<String>) -> Self {
        Self {
            zone,
            prefix: prefix.into(),
        }
    }

    /// The key of record `number`.
    pub fn key(&self, number: u64) -> String {
        format!("{}/{number:010}.json", self.prefix)
    }

    /// The number of the newest record, `None` while the log is empty.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer; [`ZoneError::Gap`] when a record seems to be lost.
    pub async fn newest(&self) -> Result<Option<u64>, ZoneError> {
        self.newest_after(0).await
    }

    /// The same, for a caller who knows that the records up to `known` exist: the cost then follows what
    /// was appended since. `known` is not checked.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub async fn newest_after(&self, known: u64) -> Result<Option<u64>, ZoneError> {
        let (known, is_dense) = match self.remembered().max(known) {
            0 if self.zone.memory().is_some() => self.listed().await,
            known => (known, self.zone.memory().is_some()),
        };
        let newest = numbers::newest(known, 0, |number| self.exists(number)).await?;
        if !is_dense || newest != known {
            self.check_gap(newest.saturating_add(1)).await?;
        }
        self.remember(newest, None);
        Ok((newest > 0).then_some(newest))
    }

    /// The newest number that is known in this process.
    fn remembered(&self) -> u64 {
        let memory = self.zone.memory();
        memory.map_or(0, |memory| memory.newest(&self.place()))
    }

    fn remember(&self, number: u64, bytes: Option<&Bytes>) {
        if let Some(memory) = self.zone.memory() {
            memory.saw(self.place(), number, bytes);
        }
    }

    fn place(&self) -> String {
        format!("{}/{}", self.zone.url(), self.prefix)
    }

    /// The newest number that listings show, and whether they show all before it. 0 where nobody may list, and where
    /// a record seems to be lost: single numbers tell.
    async fn listed(&self) -> (u64, bool) {
        let folder = format!("{}/", self.prefix);
        let Ok(page) = self.zone.page(&folder, None).await else {
            return (0, false);
        };
        let (mut present, count) = self.numbers(&page);
        if present != count {
            return (0, false);
        }
        if !page.more {
            return (present, true);
        }
        // Single numbers are asked for until one page holds the rest.
        let (mut step, mut absent) = (PAGE as u64, None);
        while absent.is_none_or(|absent| absent - present > PAGE as u64) {
            let probe = match absent {
                None => present.saturating_add(step),
                Some(absent) => present + (absent - present) / 2,
            };
            match self.exists(probe).await {
                Ok(true) => (present, step) = (probe, step.saturating_mul(2)),
                Ok(false) => absent = Some(probe),
                Err(_) => return (present, false),
            }
        }
        let rest = self.zone.page(&folder, Some(&self.key(present))).await;
        let rest = rest.map_or(0, |page| self.numbers(&page).0);
        (present.max(rest), false)
    }

    /// The highest number on a page, and how many there are.
    fn numbers(&self, page: &Page) -> (u64, u64) {
        let number = |key: &str| -> Option<u64> {
            let name = key.strip_prefix(&self.prefix)?.strip_prefix('/')?;
            name.strip_suffix(".json")?.parse().ok()
        };
        let numbers = page.entries.iter().filter_map(|entry| number(&entry.key));
        numbers.fold((0, 0), |(highest, count), number| {
            (highest.max(number), count + 1)
        })
    }

    /// Whether the first number that is free is the end of the log, and not the place of a record that was lost.
    async fn check_gap(&self, free: u64) -> Result<(), ZoneError> {
        let behind = free.saturating_add(1);
        if self.exists(behind).await? && !self.exists(free).await? {
            return Err(ZoneError::Gap {
                object: format!("{}/{}", self.zone.url(), self.key(free)),
                later: self.key(behind),
            });
        }
        Ok(())
    }

    /// The bytes of record `number`.
    ///
    /// # Errors
    /// [`ZoneError::Missing`] when there is none.
    pub async fn read(&self, number: u64) -> Result<Bytes, ZoneError> {
        let memory = self.zone.memory();
        if let Some(bytes) = memory.and_then(|memory| memory.bytes(&self.place(), number)) {
            return Ok(bytes);
        }
        let bytes = self.zone.read(&self.key(number)).await?;
        self.remember(number, Some(&bytes));
        Ok(bytes)
    }

    /// Creates record `number`, the one after the newest.
    ///
    /// A record that exists with the same bytes counts as written: its writer asked twice because the
    /// first answer was lost. Records therefore name their run, so that no two writers make the same bytes.
    ///
    /// # Errors
    /// [`ZoneError::Exists`], of kind `Conflict`, when another writer took the number;
    /// [`ZoneError::Missing`] when the record before it does not exist, because a record beyond a gap
    /// would never be found; [`ZoneError::Gap`] when the one behind it does, because records were lost then and
    /// this one would stand among those of another history.
    pub async fn append(&self, number: u64, bytes: Bytes) -> Result<Written, ZoneError> {
        let before = number.saturating_sub(1);
        let is_known = before <= self.remembered();
        if number == 0 || (!is_known && !self.exists(before).await?) {
            return Err(ZoneError::Missing {
                object: format!("{}/{}", self.zone.url(), self.key(before)),
            });
        }
        self.check_gap(number).await?;
        let key = self.key(number);
        match self.zone.create(&key, bytes.clone()).await {
            Err(exists @ ZoneError::Exists { .. }) => {
                if self.zone.read(&key).await? != bytes {
                    return Err(exists);
                }
                self.remember(number, Some(&bytes));
                Ok(Written {
                    bytes: bytes.len() as u64,
                    sha256: crate::digest::Digest::of(&bytes),
                })
            }
            written => {
                if written.is_ok() {
                    self.remember(number, Some(&bytes));
                }
                written
            }
        }
    }

    async fn exists(&self, number: u64) -> Result<bool, ZoneError> {
        Ok(self.zone.size(&self.key(number)).await?.is_some())
    }
}

impl fmt::Debug for NumberedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberedLog({}/{})", self.zone.url(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify as _, ErrorKind};
    use crate::zone::memory::MemoryZone;

    fn empty() -> (Arc<MemoryZone>, NumberedLog) {
        let zone = Arc::new(MemoryZone::default());
        (zone.clone(), NumberedLog::new(zone, "_manifests"))
    }

    #[tokio::test]
    async fn an_empty_log_has_no_newest_record() {
        let (_, log) = empty();
        assert_eq!(log.newest().await.expect("the zone answers"), None);
    }

    #[tokio::test]
    async fn the_newest_record_is_found_at_every_length_without_a_listing() {
        let (zone, log) = empty();
        for number in 1..=130 {
            log.append(number, format!("{number}").into())
                .await
                .expect("the number is free");
            for known in [0, 1, number] {
                let newest = log.newest_after(known).await.expect("the zone answers");
                assert_eq!(newest, Some(number));
            }
        }
        assert_eq!(zone.listings(), 0);
        let asked = zone.questions();
        log.newest().await.expect("the zone answers");
        assert!(
            zone.questions() - asked <= 16,
            "2·log2(130) questions are enough"
        );
    }

    #[tokio::test]
    async fn where_questions_are_requests_the_newest_of_ten_thousand_costs_a_few() {
        let zone = Arc::new(MemoryZone::far());
        let log = |zone: &Arc<MemoryZone>| NumberedLog::new(zone.clone(), "_manifests");
        for length in [0, 1, 2, 7, 999, 1_000, 1_001, 2_600, 10_000] {
            for number in zone.count() as u64 + 1..=length {
                zone.create(&log(&zone).key(number), Bytes::from_static(b"{}"))
                    .await
                    .expect("it is free");
            }
            zone.forget();
            let before = zone.questions() + zone.listings();
            let newest = log(&zone).newest().await.expect("the zone answers");
            assert_eq!(newest.unwrap_or(0), length);
            let asked = zone.questions() + zone.listings() - before;
            assert!(
                asked <= if length < 1_000 { 2 } else { 14 },
                "{length}: {asked}"
            );
            let before = zone.questions() + zone.listings();
            log(&zone).newest().await.expect("the zone answers");
            let asked = zone.questions() + zone.listings() - before;
            assert!(
                asked == 1 || length == 0,
                "a second time, {length}: {asked}"
            );
        }
    }

    #[tokio::test]
    async fn a_listing_that_lags_behind_or_is_refused_hides_nothing() {
        for hidden in [1, 5, 40] {
            let zone = Arc::new(MemoryZone::far());
            let log = NumberedLog::new(zone.clone(), "_manifests");
            for number in 1..=40 {
                let record = Bytes::from_static(b"{}");
                zone.create(&log.key(number), record).await.expect("free");
            }
            zone.hide(&log.key(40 - hidden));
            let newest = log.newest().await.expect("the zone answers");
            assert_eq!(newest, Some(40));
        }
    }

    #[tokio::test]
    async fn of_two_writers_of_a_number_one_is_told_so() {
        let (_, log) = empty();
        log.append(1, "ours".into()).await.expect("it is free");
        let error = log.append(1, "theirs".into()).await.expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(log.read(1).await.expect("it is there"), "ours");
    }

    #[tokio::test]
    async fn a_writer_whose_answer_was_lost_may_ask_again() {
        let (_, log) = empty();
        let first = log.append(1, "ours".into()).await.expect("it is free");
        let second = log.append(1, "ours".into()).await.expect("it is ours");
        assert_eq!(first, second);
    }

    #[tokio::test]
    async fn a_gap_is_refused() {
        let (_, log) = empty();
        log.append(1, "a".into()).await.expect("it is free");
        for number in [0, 3] {
            let error = log.append(number, "b".into()).await.expect_err("a gap");
            assert!(matches!(error, ZoneError::Missing { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_record_that_was_lost_is_not_written_anew() {
        let (zone, log) = empty();
        for number in 1..=5 {
            log.append(number, format!("{number}").into())
                .await
                .expect("the number is free");
        }
        zone.delete(&log.key(3)).await.expect("it is there");
        for error in [
            log.newest().await.expect_err("3 is lost"),
            log.append(3, "again".into()).await.expect_err("4 is there"),
        ] {
            assert!(matches!(error, ZoneError::Gap { .. }), "{error}");
            assert_eq!(error.kind(), ErrorKind::Data);
        }
    }

    #[tokio::test]
    async fn a_record_that_was_lost_shows_in_a_listing() {
        let zone = Arc::new(MemoryZone::far());
        let log = NumberedLog::new(zone.clone(), "_manifests");
        for number in [1, 2, 4, 5] {
            let record = Bytes::from_static(b"{}");
            zone.create(&log.key(number), record).await.expect("free");
        }
        let error = log.newest().await.expect_err("3 is lost");
        assert!(matches!(error, ZoneError::Gap { .. }), "{error}");
    }

    #[tokio::test]
    async fn numbers_sort_as_text() {
        let (_, log) = empty();
        assert_eq!(log.key(12), "_manifests/0000000012.json");
    }
}
