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
//! costs more with every record, and needs a right that a stage may not have. Because the numbers are
//! dense, "does it exist" is true up to the newest and false beyond it, so doubling steps and then halving
//! them find the end in 2·log2(n) questions: 26 for a log of 10 000 records. One more question tells the end from
//! a record that was lost.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Written, Zone, ZoneError};

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
        let (mut present, mut step) = (known, 1_u64);
        let mut absent = loop {
            let probe = present.saturating_add(step);
            if !self.exists(probe).await? {
                break probe;
            }
            present = probe;
            step = step.saturating_mul(2);
        };
        while absent - present > 1 {
            let middle = present + (absent - present) / 2;
            if self.exists(middle).await? {
                present = middle;
            } else {
                absent = middle;
            }
        }
        self.check_gap(present.saturating_add(1)).await?;
        Ok((present > 0).then_some(present))
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
        self.zone.read(&self.key(number)).await
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
        if number == 0 || (before > 0 && !self.exists(before).await?) {
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
                Ok(Written {
                    bytes: bytes.len() as u64,
                    sha256: crate::digest::Digest::of(&bytes),
                })
            }
            written => written,
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
    async fn numbers_sort_as_text() {
        let (_, log) = empty();
        assert_eq!(log.key(12), "_manifests/0000000012.json");
    }
}
