//! What a process remembers of logs: records never change and never go away, so what was there once is there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Records larger than this are read again: a manifest of some hundred tables is smaller.
const LARGEST: usize = 4 * 1024 * 1024;

/// The newest record that was seen of each log.
#[derive(Debug, Default)]
pub struct Memory {
    logs: Mutex<BTreeMap<String, Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    newest: u64,
    /// A record that was read or written last, and its number.
    record: Option<(u64, Bytes)>,
}

impl Memory {
    /// The newest number that was seen of the log at `place`, 0 where none was.
    pub(super) fn newest(&self, place: &str) -> u64 {
        self.logs().get(place).map_or(0, |seen| seen.newest)
    }

    /// The bytes of a record, where they are remembered.
    pub(super) fn bytes(&self, place: &str, number: u64) -> Option<Bytes> {
        let logs = self.logs();
        let (remembered, bytes) = logs.get(place)?.record.as_ref()?;
        (*remembered == number).then(|| bytes.clone())
    }

    /// Remembers that a record is there, and what is in it.
    pub(super) fn saw(&self, place: String, number: u64, bytes: Option<&Bytes>) {
        let mut logs = self.logs();
        let seen = logs.entry(place).or_default();
        seen.newest = seen.newest.max(number);
        if let Some(bytes) = bytes.filter(|bytes| bytes.len() <= LARGEST)
            && seen.record.as_ref().is_none_or(|(last, _)| *last <= number)
        {
            seen.record = Some((number, bytes.clone()));
        }
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
