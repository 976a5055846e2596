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
//! request: records do not go away. For the next process of the same machine it is noted, see [`Memory`]: that one begins
//! with reading the record of that number, asks for the two behind it, and lists nothing, however long the log is.

mod memory;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use memory::{Memory, Moment};

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
        let memory = self.zone.memory();
        if let Some(found) = memory.and_then(|memory| memory.found(&self.place())) {
            return Ok((found > 0).then_some(found));
        }
        let (known, is_dense) = match (self.remembered().max(known), memory) {
            (0, Some(memory)) => self.guessed(memory).await?,
            (known, memory) => (known, memory.is_some()),
        };
        let newest = numbers::newest(known, 0, |number| self.exists(number)).await?;
        if !is_dense || newest != known {
            self.check_gap(newest.saturating_add(1)).await?;
        }
        if let Some(memory) = memory {
            memory.find(self.place(), newest);
        }
        Ok((newest > 0).then_some(newest))
    }

    /// Asks again what is newest, also where it was found a moment ago: for whoever has been told that something happened.
    pub fn look_again(&self) {
        if let Some(memory) = self.zone.memory() {
            memory.doubt(&self.place());
        }
    }

    /// The newest number that is known in this process.
    fn remembered(&self) -> u64 {
        let memory = self.zone.memory();
        memory.map_or(0, |memory| memory.newest(&self.place()))
    }

    /// A number whose record is there, and whether all before it are and none is behind the next: what this machine noted
    /// last, or what a listing shows.
    async fn guessed(&self, memory: &Memory) -> Result<(u64, bool), ZoneError> {
        let noted = memory.noted(&self.place()).await;
        if noted > 0 {
            match self.read(noted).await {
                Ok(_) => return Ok((noted, false)),
                // It is the number of another log, which was here before or is elsewhere.
                Err(ZoneError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.listed().await)
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
        if let Some(memory) = memory {
            memory.saw(self.place(), number, &bytes);
        }
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
        let memory = self.zone.memory();
        let is_known = before <= self.remembered();
        if number == 0 || (!is_known && !self.exists(before).await?) {
            return Err(ZoneError::Missing {
                object: format!("{}/{}", self.zone.url(), self.key(before)),
            });
        }
        // Who has just found the end has seen that nothing is behind it.
        let is_end = memory.is_some_and(|memory| memory.found(&self.place()) == Some(before));
        if !is_end {
            self.check_gap(number).await?;
        }
        let key = self.key(number);
        let written = match self.zone.create(&key, bytes.clone()).await {
            Err(exists @ ZoneError::Exists { .. }) => {
                self.look_again();
                if self.zone.read(&key).await? != bytes {
                    return Err(exists);
                }
                Written {
                    bytes: bytes.len() as u64,
                    sha256: crate::digest::Digest::of(&bytes),
                }
            }
            written => written?,
        };
        if let Some(memory) = memory {
            memory.saw(self.place(), number, &bytes);
            memory.find(self.place(), number);
        }
        Ok(written)
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
mod tests;
