//! What a process remembers of logs: records never change and never go away, so what was there once is there.
//!
//! Within a *moment* it also answers what is newest without asking again. A run is one: it extracts, transforms and loads
//! in a second, and what one stage has just found or committed is what the next would be told. What another host commits
//! meanwhile is seen by the next run, and a commit that rests on what is no longer newest is refused, as always.
//!
//! For the next process on the machine the newest numbers are noted in a folder. A note is where a search begins and no
//! more than that: the record is read from the zone, and where it is not there the search is that of a stranger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::digest::Digest;

/// Bytes of records that are remembered of a log; larger ones are read again. A manifest of some hundred tables is smaller.
const LARGEST: usize = 4 * 1024 * 1024;
/// How long what was newest is taken to be so within a moment: a run that takes longer costs some requests more and loses
/// less often against another.
const LASTS: Duration = Duration::from_secs(20);

/// The newest record that was seen of each log.
#[derive(Debug, Default)]
pub struct Memory {
    logs: Mutex<BTreeMap<String, Seen>>,
    is_moment: AtomicBool,
    /// Where the newest numbers are noted.
    folder: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Seen {
    newest: u64,
    /// Records that were read or written, the newest of them.
    records: BTreeMap<u64, Bytes>,
    /// When `newest` was found to be the newest, within this moment.
    found: Option<Instant>,
    /// What is noted for the next process.
    noted: u64,
}

/// While this lives, what was found to be newest is not asked for again.
#[derive(Debug)]
pub struct Moment<'m>(&'m Memory);

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        self.0.is_moment.store(false, Ordering::Relaxed);
        self.0.forget_found();
    }
}

impl Memory {
    /// A memory that notes the newest numbers in `folder`, which need not exist.
    pub fn noting(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(folder.into()),
            ..Self::default()
        }
    }

    /// Begins a moment.
    pub fn moment(&self) -> Moment<'_> {
        self.forget_found();
        self.is_moment.store(true, Ordering::Relaxed);
        Moment(self)
    }

    fn forget_found(&self) {
        for seen in self.logs().values_mut() {
            seen.found = None;
        }
    }

    /// The newest number that was seen of the log at `place`, 0 where none was.
    pub(super) fn newest(&self, place: &str) -> u64 {
        self.logs().get(place).map_or(0, |seen| seen.newest)
    }

    /// The number that was found to be the newest within this moment.
    pub(super) fn found(&self, place: &str) -> Option<u64> {
        let logs = self.logs();
        let seen = logs.get(place)?;
        seen.found
            .is_some_and(|found| found.elapsed() < LASTS)
            .then_some(seen.newest)
    }

    /// Remembers that `number` was found to be the newest.
    pub(super) fn find(&self, place: String, number: u64) {
        let mut logs = self.logs();
        let seen = logs.entry(place).or_default();
        seen.newest = seen.newest.max(number);
        let is_moment = self.is_moment.load(Ordering::Relaxed);
        seen.found = (is_moment && seen.newest == number).then(Instant::now);
    }

    /// Forgets that a number was found to be the newest: another host has proved that there are later ones.
    pub(super) fn doubt(&self, place: &str) {
        if let Some(seen) = self.logs().get_mut(place) {
            seen.found = None;
        }
    }

    /// The bytes of a record, where they are remembered.
    pub(super) fn bytes(&self, place: &str, number: u64) -> Option<Bytes> {
        self.logs().get(place)?.records.get(&number).cloned()
    }

    /// Remembers what is in a record, and that it is there.
    pub(super) fn saw(&self, place: String, number: u64, bytes: &Bytes) {
        let mut logs = self.logs();
        let seen = logs.entry(place).or_default();
        if number > seen.newest {
            seen.newest = number;
            seen.found = None;
        }
        seen.records.insert(number, bytes.clone());
        while seen.records.values().map(Bytes::len).sum::<usize>() > LARGEST {
            seen.records.pop_first();
        }
    }

    /// The number that an earlier process of this machine noted, 0 where none did.
    pub(super) async fn noted(&self, place: &str) -> u64 {
        let Some(file) = self.file(place) else {
            return 0;
        };
        let noted = tokio::task::spawn_blocking(move || std::fs::read_to_string(file).ok()).await;
        let noted = noted.ok().flatten();
        let noted = noted.and_then(|noted| noted.trim().parse().ok());
        let noted = noted.unwrap_or(0);
        self.logs().entry(place.to_owned()).or_default().noted = noted;
        noted
    }

    /// Notes the newest numbers for the next process. Where that fails the next one searches longer.
    pub async fn note(&self) {
        let mut notes = Vec::new();
        for (place, seen) in self.logs().iter_mut() {
            if seen.noted != seen.newest
                && let Some(file) = self.file(place)
            {
                seen.noted = seen.newest;
                notes.push((file, seen.newest));
            }
        }
        if notes.is_empty() {
            return;
        }
        let noting = move || {
            notes
                .iter()
                .try_for_each(|(file, newest)| write(file, *newest))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(noting).await {
            tracing::debug!(%error, "the newest numbers are not noted");
        }
    }

    fn file(&self, place: &str) -> Option<PathBuf> {
        let name = Digest::of(place).to_string();
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    #[cfg(test)]
    pub(in crate::zone) fn forget(&self) {
        self.logs().clear();
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        // What is remembered is whole after every call that changes it.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(file: &Path, newest: u64) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // A note that is cut short is another number, and as harmless.
    std::fs::write(file, newest.to_string())
}
