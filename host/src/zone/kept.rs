//! A zone whose objects are kept on this machine once they were read.
//!
//! For the modules zone in a bucket: every run needs all of its modules, they are most of what it would read, and none of
//! them ever changes. What exists, and what is newest, is asked of the zone each time. What is kept has its own digest
//! before it, and what does not agree with it, or cannot be read, is read from the zone again. An object that was
//! lost in the bucket is missed when this machine has lost it, too; `tidemill module list` shows what is there.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Entry, ObjectWriter, Page, Written, Zone, ZoneError};
use crate::digest::Digest;

/// A zone and a private folder.
#[derive(Debug, Clone)]
pub struct Kept {
    zone: Arc<dyn Zone>,
    folder: PathBuf,
}

impl Kept {
    /// The same zone, where reading it costs no request; otherwise what is read is kept in `folder`.
    pub fn of(zone: Arc<dyn Zone>, folder: &Path) -> Arc<dyn Zone> {
        match zone.memory() {
            None => zone,
            Some(_) => Arc::new(Self {
                zone,
                folder: folder.join("objects"),
            }),
        }
    }

    fn file(&self, key: &str) -> PathBuf {
        let object = format!("{}/{key}", self.zone.url());
        self.folder.join(Digest::of(object).to_string())
    }
}

#[async_trait]
impl Zone for Kept {
    fn url(&self) -> &str {
        self.zone.url()
    }

    fn memory(&self) -> Option<&super::log::Memory> {
        self.zone.memory()
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, ZoneError> {
        self.zone.create(key, bytes).await
    }

    async fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, ZoneError> {
        self.zone.writer(key).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, ZoneError> {
        let file = self.file(key);
        let kept = tokio::task::spawn_blocking({
            let file = file.clone();
            move || find(&file)
        });
        if let Ok(Some(bytes)) = kept.await {
            return Ok(bytes);
        }
        let bytes = self.zone.read(key).await?;
        let kept = bytes.clone();
        let keeping = tokio::task::spawn_blocking(move || keep(&file, &kept)).await;
        if let Ok(Err(error)) = keeping {
            tracing::debug!(key, %error, "what was read is not kept");
        }
        Ok(bytes)
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
        let _ = std::fs::remove_file(self.file(key));
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

/// What is kept, if it is what was kept.
fn find(file: &Path) -> Option<Bytes> {
    let mut kept = Bytes::from(std::fs::read(file).ok()?);
    let digest = Digest::of("").to_string().len();
    if kept.len() < digest {
        return None;
    }
    let said = kept.split_to(digest);
    (said.as_ref() == Digest::of(&kept).to_string().as_bytes()).then_some(kept)
}

/// Keeps bytes, whole or not at all.
fn keep(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(Digest::of(bytes).to_string().as_bytes())?;
    draft.write_all(bytes)?;
    draft.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::memory::MemoryZone;

    #[tokio::test]
    async fn what_was_read_is_read_once_and_what_was_damaged_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let far = Arc::new(MemoryZone::far());
        let zone = Kept::of(far.clone(), folder.path());
        zone.create("a", Bytes::from_static(b"module"))
            .await
            .expect("free");
        assert_eq!(zone.read("a").await.expect("it is there"), "module");
        // Behind its back: only what is kept still says so.
        far.damage("a", "another");
        assert_eq!(zone.read("a").await.expect("it is kept"), "module");
        for entry in std::fs::read_dir(folder.path().join("objects")).expect("kept") {
            let path = entry.expect("readable").path();
            let mut kept = std::fs::read(&path).expect("readable");
            *kept.last_mut().expect("some bytes") ^= 1;
            std::fs::write(&path, kept).expect("ours");
        }
        assert_eq!(zone.read("a").await.expect("it is there"), "another");
        let missing = zone.read("b").await.expect_err("nobody has it");
        assert!(matches!(missing, ZoneError::Missing { .. }), "{missing}");
    }

    #[test]
    fn a_zone_that_is_near_is_not_kept_twice() {
        let near: Arc<dyn Zone> = Arc::new(MemoryZone::default());
        let zone = Kept::of(near.clone(), Path::new("/nowhere"));
        assert!(Arc::ptr_eq(&near, &zone));
    }
}
