//! A zone that remembers what was created through it, so that a run can take back what its manifest does not name.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Entry, ObjectWriter, Page, Written, Zone, ZoneError};

/// What has to be there before the first object is.
#[async_trait]
pub trait Announcement: Send + Sync + std::fmt::Debug {
    /// Makes it. Called before every object, so all calls but the first one do nothing.
    async fn make(&self) -> Result<(), ZoneError>;
}

/// A zone and the keys of the objects that were created through this value.
#[derive(Debug, Clone)]
pub struct Watched {
    zone: Arc<dyn Zone>,
    created: Arc<Mutex<Vec<String>>>,
    announcement: Arc<OnceLock<Arc<dyn Announcement>>>,
}

impl Watched {
    /// The same zone, watched from now on.
    pub fn new(zone: Arc<dyn Zone>) -> Self {
        Self {
            zone,
            created: Arc::default(),
            announcement: Arc::default(),
        }
    }

    /// Makes `announcement` before an object is created: of those that were given, the first.
    pub fn announce(&self, announcement: Arc<dyn Announcement>) {
        self.announcement.get_or_init(|| announcement);
    }

    async fn announced(&self) -> Result<(), ZoneError> {
        match self.announcement.get() {
            Some(announcement) => announcement.make().await,
            None => Ok(()),
        }
    }

    /// The zone itself.
    pub fn unwatched(&self) -> Arc<dyn Zone> {
        self.zone.clone()
    }

    /// The keys created since this was last asked, those included of which that is not certain.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *keys(&self.created))
    }
}

fn keys(created: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    // A list of keys is whole after every call that changes it.
    created.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers a key, unless another host has created it.
fn remember(created: &Mutex<Vec<String>>, key: &str, result: &Result<Written, ZoneError>) {
    if !matches!(result, Err(ZoneError::Exists { .. })) {
        keys(created).push(key.to_owned());
    }
}

#[async_trait]
impl Zone for Watched {
    fn url(&self) -> &str {
        self.zone.url()
    }

    fn memory(&self) -> Option<&super::log::Memory> {
        self.zone.memory()
    }

    fn kept(&self) -> Option<&super::kept::Kept> {
        self.zone.kept()
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, ZoneError> {
        self.announced().await?;
        let result = self.zone.create(key, bytes).await;
        remember(&self.created, key, &result);
        result
    }

    async fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, ZoneError> {
        self.announced().await?;
        Ok(Box::new(WatchedWriter {
            writer: self.zone.writer(key).await?,
            key: key.to_owned(),
            created: self.created.clone(),
        }))
    }

    async fn read(&self, key: &str) -> Result<Bytes, ZoneError> {
        self.zone.read(key).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError> {
        self.zone.read_range(key, range).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ZoneError> {
        self.zone.size(key).await
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, ZoneError> {
        self.zone.page(prefix, after).await
    }

    async fn delete(&self, key: &str) -> Result<(), ZoneError> {
        self.zone.delete(key).await
    }

    async fn sweep_unfinished(
        &self,
        before: DateTime<Utc>,
        rehearsal: bool,
    ) -> Result<Vec<Entry>, ZoneError> {
        self.zone.sweep_unfinished(before, rehearsal).await
    }
}

struct WatchedWriter {
    writer: Box<dyn ObjectWriter>,
    key: String,
    created: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl ObjectWriter for WatchedWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Written, ZoneError> {
        let result = self.writer.finish().await;
        remember(&self.created, &self.key, &result);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::memory::MemoryZone;

    #[tokio::test]
    async fn what_was_created_is_told_once() {
        let zone = Arc::new(MemoryZone::default());
        zone.create("theirs", Bytes::new()).await.unwrap();
        let watched = Watched::new(zone);
        watched.create("a", Bytes::new()).await.unwrap();
        watched.writer("b").await.unwrap().finish().await.unwrap();
        drop(watched.writer("c").await.unwrap());
        watched.create("theirs", Bytes::new()).await.unwrap_err();
        assert_eq!(watched.take(), ["a", "b"]);
        assert_eq!(watched.take(), Vec::<String>::new());
    }
}
