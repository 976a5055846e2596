//! What goes to stores of objects and comes back, counted where it is sent: each attempt by itself, for each is paid for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::contact::Contact;

/// The traffic of the zones and of a warehouse in a bucket; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    moved: Arc<Mutex<Moved>>,
    contact: Contact,
}

/// Traffic up to a moment, or between two. As JSON its requests are one number, and two by what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Requests, repeated ones too, by operation and by what became of them: `ok`, `refused` (as most conditional ones
    /// should be), `failed` by the store, or `unanswered`.
    pub by_request: BTreeMap<(String, &'static str), u64>,
    /// Bytes of the bodies of requests.
    pub bytes_sent: u64,
    /// Bytes of the bodies of answers.
    pub bytes_received: u64,
}

impl Traffic {
    /// Whether the store answers.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Counts the body of a request.
    pub fn sent(&self, bytes: u64) {
        self.lock().bytes_sent += bytes;
    }

    /// Counts the body of an answer.
    pub fn received(&self, bytes: u64) {
        self.lock().bytes_received += bytes;
    }

    /// Counts a request that was answered with this status, or not at all.
    pub fn answered(&self, operation: &str, status: Option<u16>) {
        let outcome = match status {
            None => "unanswered",
            Some(200..400) => "ok",
            Some(500..) => "failed",
            Some(_) => "refused",
        };
        let key = (operation.to_owned(), outcome);
        *self.lock().by_request.entry(key).or_default() += 1;
    }

    /// What was moved until now.
    pub fn moved(&self) -> Moved {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        // Each call changes one number: there is nothing half done.
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request is billed as. Removing is free, whether objects or parts of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tariff {
    Writing,
    Reading,
    Free,
}

impl Tariff {
    fn of(operation: &str) -> Self {
        match operation {
            "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload" => Self::Free,
            "HeadObject" | "GetObject" => Self::Reading,
            // Put, Create, UploadPart, Complete, Copy and everything that lists.
            _ => Self::Writing,
        }
    }
}

impl Moved {
    /// How many requests.
    pub fn requests(&self) -> u64 {
        self.by_request.values().sum()
    }

    /// Those that a store bills as PUT, COPY, POST or LIST, which are dear.
    pub fn writing(&self) -> u64 {
        self.of(Tariff::Writing)
    }

    /// Those that a store bills as GET and all others.
    pub fn reading(&self) -> u64 {
        self.of(Tariff::Reading)
    }

    fn of(&self, tariff: Tariff) -> u64 {
        let requests = self.by_request.iter();
        requests
            .filter(|((operation, _), _)| Tariff::of(operation) == tariff)
            .map(|(_, count)| count)
            .sum()
    }

    /// What was moved since `before`.
    pub fn since(mut self, before: &Self) -> Self {
        for (key, count) in &mut self.by_request {
            *count -= before.by_request.get(key).copied().unwrap_or(0).min(*count);
        }
        self.by_request.retain(|_, count| *count > 0);
        self.bytes_sent = self.bytes_sent.saturating_sub(before.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_sub(before.bytes_received);
        self
    }

    /// This and what else was moved.
    pub fn and(mut self, other: Self) -> Self {
        for (key, count) in other.by_request {
            *self.by_request.entry(key).or_default() += count;
        }
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self
    }
}

impl Serialize for Moved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut moved = serializer.serialize_struct("Moved", 5)?;
        moved.serialize_field("requests", &self.requests())?;
        moved.serialize_field("requests_writing", &self.writing())?;
        moved.serialize_field("requests_reading", &self.reading())?;
        moved.serialize_field("bytes_sent", &self.bytes_sent)?;
        moved.serialize_field("bytes_received", &self.bytes_received)?;
        moved.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_what_became_of_them() {
        let traffic = Traffic::default();
        traffic.answered("PutObject", Some(200));
        traffic.sent(5);
        let before = traffic.moved();
        for status in [Some(200), Some(412), Some(503), None] {
            traffic.clone().answered("PutObject", status);
        }
        traffic.sent(7);
        let since = traffic.moved().since(&before);
        let outcomes: Vec<_> = since
            .by_request
            .iter()
            .map(|((_, o), n)| (*o, *n))
            .collect();
        let expected = [("failed", 1), ("ok", 1), ("refused", 1), ("unanswered", 1)];
        assert_eq!(outcomes, expected);
        assert_eq!((since.requests(), since.bytes_sent), (4, 7));
        assert_eq!(before.and(since), traffic.moved());
    }

    #[test]
    fn a_report_has_the_requests_in_all_and_by_what_they_cost() {
        let traffic = Traffic::default();
        traffic.answered("GetObject", Some(200));
        traffic.answered("HeadObject", Some(404));
        for operation in ["PutObject", "ListObjectsV2", "UploadPart", "DeleteObject"] {
            traffic.answered(operation, Some(200));
        }
        traffic.received(9);
        let json = serde_json::to_value(traffic.moved()).expect("plain numbers");
        let expected = serde_json::json!({
            "requests": 6, "requests_writing": 3, "requests_reading": 2, "bytes_sent": 0, "bytes_received": 9
        });
        assert_eq!(json, expected);
    }
}
