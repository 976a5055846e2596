//! A zone in memory for unit tests: conditional creation as on disk, and a count of what was asked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Entry, ObjectWriter, PAGE, Page, Written, Zone, ZoneError};
use crate::digest::Digest;

/// Objects in a map.
#[derive(Debug, Default)]
pub(crate) struct MemoryZone {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// How much older than the others some objects are.
    aged: Mutex<BTreeMap<String, TimeDelta>>,
    questions: AtomicU64,
    listings: AtomicU64,
    /// Whether questions are as dear as requests, and what is remembered then.
    far: Option<super::log::Memory>,
    /// What is kept of it then.
    kept: Option<super::kept::Kept>,
    /// How often an object was read.
    reads: AtomicU64,
    /// A key from which on listings show nothing.
    hidden: Mutex<Option<String>>,
}

impl MemoryZone {
    /// A zone of which logs are remembered, as of one in a bucket.
    pub(crate) fn far() -> Self {
        Self {
            far: Some(super::log::Memory::default()),
            ..Self::default()
        }
    }

    /// The same zone as another process of a machine sees it which keeps what it needs in `folder`.
    pub(crate) fn seen_anew(&self, folder: &std::path::Path) -> Self {
        Self {
            objects: self.objects.clone(),
            far: Some(super::log::Memory::noting(folder.join("logs"))),
            kept: Some(super::kept::Kept::new(folder.join("objects"), 1 << 30)),
            ..Self::default()
        }
    }

    /// How often an object was read, asked for or listed.
    pub(crate) fn requests(&self) -> u64 {
        self.reads.load(Ordering::Relaxed) + self.questions() + self.listings()
    }

    /// Forgets what is remembered of logs.
    pub(crate) fn forget(&self) {
        if let Some(memory) = &self.far {
            memory.forget();
        }
    }

    /// From here on listings do not show what comes after `key`.
    pub(crate) fn hide(&self, key: &str) {
        *self
            .hidden
            .lock()
            .expect("no test panics while it holds the lock") = Some(key.to_owned());
    }

    /// How many objects there are.
    pub(crate) fn count(&self) -> usize {
        self.objects().len()
    }

    /// How often the size of an object was asked for.
    pub(crate) fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    /// How often a listing was asked for.
    pub(crate) fn listings(&self) -> u64 {
        self.listings.load(Ordering::Relaxed)
    }

    /// Makes every object whose key begins with `prefix` that much older than what is created later.
    pub(crate) fn age(&self, prefix: &str, by: TimeDelta) {
        let keys: Vec<String> = self.objects().keys().cloned().collect();
        let keys = keys.into_iter().filter(|key| key.starts_with(prefix));
        self.aged().extend(keys.map(|key| (key, by)));
    }

    fn aged(&self) -> MutexGuard<'_, BTreeMap<String, TimeDelta>> {
        self.aged
            .lock()
            .expect("no test panics while it holds the lock")
    }

    /// Replaces an object behind the zone's back, as a failing disk or an intruder does.
    pub(crate) fn damage(&self, key: &str, bytes: impl Into<Bytes>) {
        self.objects().insert(key.to_owned(), bytes.into());
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects
            .lock()
            .expect("no test panics while it holds the lock")
    }

    fn name(key: &str) -> String {
        format!("memory:///{key}")
    }
}

#[async_trait]
impl Zone for MemoryZone {
    fn url(&self) -> &str {
        "memory://"
    }

    fn memory(&self) -> Option<&super::log::Memory> {
        self.far.as_ref()
    }

    fn kept(&self) -> Option<&super::kept::Kept> {
        self.kept.as_ref()
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, ZoneError> {
        let mut writer = self.writer(key).await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    async fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, ZoneError> {
        Ok(Box::new(MemoryWriter {
            objects: self.objects.clone(),
            key: key.to_owned(),
            bytes: Vec::new(),
        }))
    }

    async fn read(&self, key: &str) -> Result<Bytes, ZoneError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.objects().get(key).cloned().ok_or(ZoneError::Missing {
            object: Self::name(key),
        })
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError> {
        let whole = self.read(key).await?;
        Ok(whole.slice(range.start as usize..range.end as usize))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ZoneError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        Ok(self.objects().get(key).map(|bytes| bytes.len() as u64))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, ZoneError> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        let aged = self.aged();
        let hidden = self.hidden.lock();
        let hidden = hidden
            .expect("no test panics while it holds the lock")
            .clone();
        let objects = self.objects();
        let mut entries = objects
            .range(prefix.to_owned()..)
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| hidden.as_ref().is_none_or(|hidden| *key <= hidden))
            .map(|(key, bytes)| Entry {
                key: key.clone(),
                bytes: bytes.len() as u64,
                created: DateTime::UNIX_EPOCH - aged.get(key).copied().unwrap_or_default(),
            });
        let page = entries.by_ref().take(PAGE).collect();
        Ok(Page {
            entries: page,
            more: entries.next().is_some(),
        })
    }

    async fn delete(&self, key: &str) -> Result<(), ZoneError> {
        self.objects().remove(key);
        Ok(())
    }

    async fn sweep_unfinished(&self, _: DateTime<Utc>, _: bool) -> Result<Vec<Entry>, ZoneError> {
        Ok(Vec::new())
    }
}

/// An object in the making.
struct MemoryWriter {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    key: String,
    bytes: Vec<u8>,
}

#[async_trait]
impl ObjectWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Written, ZoneError> {
        let mut objects = self
            .objects
            .lock()
            .expect("no test panics while it holds the lock");
        if objects.contains_key(&self.key) {
            return Err(ZoneError::Exists {
                object: MemoryZone::name(&self.key),
            });
        }
        let written = Written {
            bytes: self.bytes.len() as u64,
            sha256: Digest::of(&self.bytes),
        };
        objects.insert(self.key.clone(), self.bytes.into());
        Ok(written)
    }
}
