//! A zone in a folder: exclusive creation by a link that fails when the name is taken.
//!
//! An object is written under `_incomplete/`, synchronised, and linked to its name. A crash leaves at most
//! a file under `_incomplete/`, which no reader looks at and the sweep removes by age.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::{Entry, ObjectWriter, PAGE, Page, Written, Zone, ZoneError};
use crate::digest::Digest;

/// Where objects are written before they have their name.
const INCOMPLETE: &str = "_incomplete";

/// A zone in a folder of the local file system.
#[derive(Debug, Clone)]
pub struct LocalZone {
    root: PathBuf,
    url: String,
}

impl LocalZone {
    /// The zone below `root`, which is made when the first object is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let url = format!("file://{}", root.display());
        Self { root, url }
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    fn path(&self, action: &'static str, key: &str) -> Result<PathBuf, ZoneError> {
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if key.split('/').all(is_plain) && !key.contains(['\\', '\0']) {
            return Ok(self.root.join(key));
        }
        Err(ZoneError::Unavailable {
            action,
            object: self.object(key),
            cause: "the key is not a relative path of plain names".into(),
        })
    }

    fn failed(&self, action: &'static str, key: &str, error: std::io::Error) -> ZoneError {
        let object = self.object(key);
        match error.kind() {
            std::io::ErrorKind::NotFound => ZoneError::Missing { object },
            std::io::ErrorKind::AlreadyExists => ZoneError::Exists { object },
            _ => ZoneError::Unavailable {
                action,
                object,
                cause: Box::new(error),
            },
        }
    }

    /// Runs file work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, ZoneError> {
        let result = tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|join| Err(std::io::Error::other(join)));
        result.map_err(|error| self.failed(action, key, error))
    }
}

#[async_trait]
impl Zone for LocalZone {
    fn url(&self) -> &str {
        &self.url
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, ZoneError> {
        let mut writer = self.writer(key).await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    async fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, ZoneError> {
        let path = self.path("create", key)?;
        let root = self.root.clone();
        let file = self
            .blocking("create", key, move || {
                let incomplete = root.join(INCOMPLETE);
                std::fs::create_dir_all(&incomplete)?;
                tempfile::Builder::new()
                    .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
                    .tempfile_in(incomplete)
            })
            .await?;
        Ok(Box::new(LocalWriter {
            zone: self.clone(),
            key: key.to_owned(),
            path,
            pending: Some(Pending {
                file,
                hasher: Sha256::new(),
                bytes: 0,
            }),
        }))
    }

    async fn read(&self, key: &str) -> Result<Bytes, ZoneError> {
        let path = self.path("read", key)?;
        self.blocking("read", key, move || std::fs::read(path))
            .await
            .map(Bytes::from)
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError> {
        let path = self.path("read", key)?;
        let wanted = range.clone();
        let read = move || {
            use std::os::unix::fs::FileExt as _;
            let length = usize::try_from(wanted.end.saturating_sub(wanted.start))
                .map_err(std::io::Error::other)?;
            let mut bytes = vec![0; length];
            std::fs::File::open(path)?.read_exact_at(&mut bytes, wanted.start)?;
            Ok(Bytes::from(bytes))
        };
        match self.blocking("read", key, read).await {
            Err(ZoneError::Unavailable { cause, object, .. })
                if is_kind(cause.as_ref(), std::io::ErrorKind::UnexpectedEof) =>
            {
                let reason = format!("it ends before byte {}", range.end);
                Err(ZoneError::Damaged { object, reason })
            }
            other => other,
        }
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ZoneError> {
        let path = self.path("read", key)?;
        match self
            .blocking("read", key, move || std::fs::metadata(path))
            .await
        {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(ZoneError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, ZoneError> {
        let listing = Listing {
            root: self.root.clone(),
            prefix: prefix.to_owned(),
            after: after.unwrap_or_default().to_owned(),
            entries: Vec::new(),
        };
        self.blocking("list", prefix, move || listing.page()).await
    }

    async fn delete(&self, key: &str) -> Result<(), ZoneError> {
        let path = self.path("delete", key)?;
        match self
            .blocking("delete", key, move || std::fs::remove_file(path))
            .await
        {
            Err(ZoneError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    async fn sweep_unfinished(
        &self,
        before: DateTime<Utc>,
        rehearsal: bool,
    ) -> Result<Vec<Entry>, ZoneError> {
        let root = self.root.clone();
        let mut unfinished = self
            .blocking("list", INCOMPLETE, move || files_of(&root, INCOMPLETE))
            .await?;
        unfinished.retain(|file| file.created < before);
        for file in unfinished.iter().filter(|_| !rehearsal) {
            self.delete(&file.key).await?;
        }
        Ok(unfinished)
    }
}

fn is_kind(
    cause: &(dyn std::error::Error + Send + Sync + 'static),
    kind: std::io::ErrorKind,
) -> bool {
    cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == kind)
}

/// A listing on its way through the folders, in the order of the keys.
struct Listing {
    root: PathBuf,
    prefix: String,
    after: String,
    entries: Vec<Entry>,
}

impl Listing {
    fn page(mut self) -> std::io::Result<Page> {
        let folder = self.prefix.rsplit_once('/');
        let folder = folder.map_or_else(String::new, |(folder, _)| folder.to_owned());
        self.walk(&folder)?;
        let more = self.entries.len() > PAGE;
        self.entries.truncate(PAGE);
        Ok(Page {
            entries: self.entries,
            more,
        })
    }

    /// Goes through `folder` until there is one object more than a page has.
    fn walk(&mut self, folder: &str) -> std::io::Result<()> {
        for (key, is_folder) in children(&self.root, folder)? {
            if self.entries.len() > PAGE {
                break;
            }
            if !is_folder {
                if key.starts_with(&self.prefix) && key > self.after {
                    self.entries.extend(entry(&self.root, key)?);
                }
                continue;
            }
            let below = format!("{key}/");
            let may_match = below.starts_with(&self.prefix) || self.prefix.starts_with(&below);
            let is_passed = below < self.after && !self.after.starts_with(&below);
            if may_match && !is_passed && key != INCOMPLETE {
                self.walk(&key)?;
            }
        }
        Ok(())
    }
}

/// What is in a folder, in the order of the keys, among which a folder stands as its name with a slash.
fn children(root: &Path, folder: &str) -> std::io::Result<Vec<(String, bool)>> {
    let listing = match std::fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut children = Vec::new();
    for file in listing {
        let file = file?;
        // A name that is not UTF-8 is none of ours.
        if let Some(name) = file.file_name().to_str() {
            let key = match folder {
                "" => name.to_owned(),
                folder => format!("{folder}/{name}"),
            };
            children.push((key, file.file_type()?.is_dir()));
        }
    }
    children.sort_by_cached_key(|(key, is_folder)| match is_folder {
        true => format!("{key}/"),
        false => key.clone(),
    });
    Ok(children)
}

/// The files in a folder.
fn files_of(root: &Path, folder: &str) -> std::io::Result<Vec<Entry>> {
    let mut files = Vec::new();
    for (key, is_folder) in children(root, folder)? {
        if !is_folder {
            files.extend(entry(root, key)?);
        }
    }
    Ok(files)
}

/// A file as a listing shows it; `None` when it is gone by now.
fn entry(root: &Path, key: String) -> std::io::Result<Option<Entry>> {
    let metadata = match std::fs::metadata(root.join(&key)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok(Some(Entry {
        key,
        bytes: metadata.len(),
        created: metadata.modified()?.into(),
    }))
}

/// A file that was swept before it got its name is one whose name another has: nothing else makes it sweepable.
fn taken(path: &Path, error: std::io::Error) -> std::io::Error {
    match error.kind() {
        std::io::ErrorKind::NotFound if path.exists() => std::io::ErrorKind::AlreadyExists.into(),
        _ => error,
    }
}

/// An object in the making: a file without a name of its own yet.
struct LocalWriter {
    zone: LocalZone,
    key: String,
    path: PathBuf,
    /// Taken while file work runs off the async threads; `None` after an error.
    pending: Option<Pending>,
}

struct Pending {
    file: NamedTempFile,
    hasher: Sha256,
    bytes: u64,
}

impl LocalWriter {
    fn take(&mut self) -> Result<Pending, ZoneError> {
        self.pending.take().ok_or_else(|| ZoneError::Unavailable {
            action: "create",
            object: self.zone.object(&self.key),
            cause: "an earlier write to it failed".into(),
        })
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        let mut pending = self.take()?;
        let write = move || {
            pending.file.write_all(&bytes)?;
            pending.hasher.update(&bytes);
            pending.bytes += bytes.len() as u64;
            Ok(pending)
        };
        self.pending = Some(self.zone.blocking("create", &self.key, write).await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Written, ZoneError> {
        let pending = self.take()?;
        let path = self.path.clone();
        let publish = move || {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            pending.file.as_file().sync_all()?;
            let published = pending.file.persist_noclobber(&path);
            published.map_err(|error| taken(&path, error.error))?;
            std::fs::File::open(folder)?.sync_all()?;
            let sha256: [u8; 32] = pending.hasher.finalize().into();
            Ok(Written {
                bytes: pending.bytes,
                sha256: Digest::from(sha256),
            })
        };
        self.zone.blocking("create", &self.key, publish).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> (tempfile::TempDir, LocalZone) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let zone = LocalZone::new(folder.path().join("zone"));
        (folder, zone)
    }

    #[tokio::test]
    async fn an_object_is_created_once() {
        let (_folder, zone) = zone();
        let written = zone
            .create("a/b", Bytes::from_static(b"one"))
            .await
            .unwrap();
        assert_eq!(written.sha256, Digest::of("one"));
        let second = zone.create("a/b", Bytes::from_static(b"two")).await;
        assert!(matches!(second, Err(ZoneError::Exists { .. })));
        assert_eq!(zone.read("a/b").await.unwrap(), "one");
    }

    #[tokio::test]
    async fn of_many_creators_one_wins() {
        let (_folder, zone) = zone();
        let attempts = (0..16_u8).map(|n| {
            let zone = zone.clone();
            tokio::spawn(async move { zone.create("x", Bytes::from(vec![n])).await.is_ok() })
        });
        let mut winners = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            winners += usize::from(attempt.await.unwrap());
        }
        assert_eq!(winners, 1);
    }

    #[tokio::test]
    async fn an_object_that_is_not_finished_is_not_seen() {
        let (_folder, zone) = zone();
        let mut writer = zone.writer("a").await.unwrap();
        writer.write(Bytes::from_static(b"half")).await.unwrap();
        drop(writer);
        assert_eq!(zone.size("a").await.unwrap(), None);
        assert_eq!(zone.list("").await.unwrap(), vec![]);
    }

    #[tokio::test]
    async fn a_listing_comes_in_pages_in_the_order_of_the_keys() {
        let (folder, zone) = zone();
        let mut keys: Vec<String> = (0..PAGE + 7).map(|n| format!("b/{n:05}/x")).collect();
        // A slash sorts behind a hyphen and a dot, and before a digit.
        keys.extend(["a", "b-1/x", "b.json", "b/x", "b0/x", "c/d/e"].map(str::to_owned));
        for key in &keys {
            let path = folder.path().join("zone").join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        keys.sort();
        let all = zone.list("").await.unwrap();
        let found: Vec<&String> = all.iter().map(|entry| &entry.key).collect();
        assert_eq!(found, keys.iter().collect::<Vec<_>>());
        let page = zone.page("b", None).await.unwrap();
        assert_eq!((page.entries.len(), page.more), (PAGE, true));
        let last = &page.entries.last().unwrap().key;
        let rest = zone.page("b", Some(last)).await.unwrap();
        assert_eq!(
            (rest.entries.len(), rest.more),
            (keys.len() - 2 - PAGE, false)
        );
        let none = zone.page("b/00001/y", None).await.unwrap();
        assert_eq!(none, Page::default());
    }

    #[tokio::test]
    async fn what_was_never_finished_is_swept_by_age() {
        let (folder, zone) = zone();
        let mut writer = zone.writer("a").await.unwrap();
        writer.write(Bytes::from_static(b"half")).await.unwrap();
        // As a kill leaves it: nobody removes it on the way out.
        std::mem::forget(writer);
        let file = std::fs::read_dir(folder.path().join("zone").join(INCOMPLETE));
        let file = file.unwrap().next().unwrap().unwrap();
        let written: DateTime<Utc> = file.metadata().unwrap().modified().unwrap().into();
        let swept = zone.sweep_unfinished(written, false).await.unwrap();
        assert_eq!(swept, [], "it is not older than itself");
        let later = written + chrono::TimeDelta::seconds(1);
        let rehearsed = zone.sweep_unfinished(later, true).await.unwrap();
        assert_eq!(rehearsed.len(), 1);
        assert!(file.path().exists());
        let swept = zone.sweep_unfinished(later, false).await.unwrap();
        assert_eq!(swept, rehearsed);
        assert!(!file.path().exists());
    }

    #[tokio::test]
    async fn a_range_past_the_end_is_damage_and_not_a_short_answer() {
        let (_folder, zone) = zone();
        zone.create("a", Bytes::from_static(b"0123")).await.unwrap();
        assert_eq!(zone.read_range("a", 1..3).await.unwrap(), "12");
        let beyond = zone.read_range("a", 2..9).await;
        assert!(matches!(beyond, Err(ZoneError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_key_cannot_leave_the_zone() {
        let (_folder, zone) = zone();
        for key in ["../a", "a/../b", "/a", "", "a//b", "."] {
            assert!(zone.read(key).await.is_err(), "{key}");
        }
    }
}
