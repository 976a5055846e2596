//! Objects that are kept on this machine once they were read or written: those that nobody can change, by what is in them.
//!
//! Modules are most of what a run would read, and the index that a table is compared with is most of the rest. Both are
//! named by a digest that stands in a record of the zone, a promotion or a manifest, and these are asked for in the zone
//! at every run: so a zone that was emptied, exchanged or restored is seen, and what is kept of another one is
//! never asked for. What is kept has its own digest before it; what does not agree with it, or cannot be read, is
//! read from the zone again. An object that was lost in the zone is missed when this machine has lost it, too:
//! `tidemill verify` reads every object of the zone itself.
//!
//! What is kept has a room. When that is full, what was kept more than a week ago makes place, the oldest first, and what
//! still does not fit is not kept. So an index that is larger than the room is not written anew at every run.
//! Throwing out whatever was used longest ago was rejected for that: of a list that is read from its beginning to its end
//! every time it keeps nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::digest::Digest;

/// How long what is kept stays when the room is full. What is still in use then is read once more.
const STAYS: Duration = Duration::from_secs(7 * 86_400);

/// A private folder of some size.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
    room_bytes: u64,
}

impl Kept {
    /// What is kept in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>, room_bytes: u64) -> Self {
        Self {
            folder: folder.into(),
            room_bytes,
        }
    }

    /// What is kept under `name`, if it is what was kept.
    pub async fn find(&self, name: &str) -> Option<Bytes> {
        let file = self.file(name);
        let found = tokio::task::spawn_blocking(move || find(&file)).await;
        found.ok().flatten()
    }

    /// Keeps bytes under `name`, in the place of what is kept there. What cannot be kept is read from the zone again.
    pub async fn keep(&self, name: &str, bytes: Bytes) {
        let (kept, file) = (self.clone(), self.file(name));
        let keeping = tokio::task::spawn_blocking(move || kept.write(&file, &bytes)).await;
        if let Ok(Err(error)) = keeping {
            tracing::debug!(name, %error, "it is not kept");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(Digest::of(name).to_string())
    }

    /// Keeps bytes, whole or not at all.
    fn write(&self, file: &Path, bytes: &[u8]) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder)?;
        draft.write_all(Digest::of(bytes).to_string().as_bytes())?;
        draft.write_all(bytes)?;
        if self.makes_room(draft.as_file().metadata()?.modified()?)? {
            draft.persist(file)?;
        }
        Ok(())
    }

    /// Whether what is in the folder fits into the room, after what is older than it may be has made place.
    fn makes_room(&self, now: SystemTime) -> std::io::Result<bool> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed it.
            if let Ok(metadata) = entry.metadata() {
                entries.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        let mut held: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        entries.sort();
        for (written, bytes, path) in entries {
            let is_old = now.duration_since(written).is_ok_and(|age| age > STAYS);
            if held <= self.room_bytes || !is_old {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                held -= bytes;
            }
        }
        Ok(held <= self.room_bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("kept");
        entries
            .map(|entry| entry.expect("readable").path())
            .collect()
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_was_damaged_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::new(folder.path().join("objects"), 1024);
        assert_eq!(kept.find("a").await, None);
        kept.keep("a", "module".into()).await;
        assert_eq!(kept.find("a").await.expect("kept"), "module");
        kept.keep("a", "another".into()).await;
        assert_eq!(kept.find("a").await.expect("kept"), "another");
        for path in files(&folder.path().join("objects")) {
            let mut kept = std::fs::read(&path).expect("readable");
            *kept.last_mut().expect("some bytes") ^= 1;
            std::fs::write(&path, kept).expect("ours");
        }
        assert_eq!(kept.find("a").await, None);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_not_kept_until_something_is_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::new(folder.path(), 2 * (64 + 10));
        for name in ["a", "b", "c"] {
            kept.keep(name, "ten bytes.".into()).await;
        }
        assert_eq!(kept.find("c").await, None);
        let old = kept.file("a");
        let old = std::fs::File::options().append(true).open(old);
        let old = old.expect("it is kept");
        let written = old.metadata().and_then(|file| file.modified());
        let aged = written.expect("a time") - STAYS - Duration::from_secs(60);
        old.set_modified(aged).expect("ours");
        kept.keep("c", "ten bytes.".into()).await;
        assert_eq!(kept.find("a").await, None);
        for name in ["b", "c"] {
            assert_eq!(kept.find(name).await.expect("kept"), "ten bytes.");
        }
        assert_eq!(files(folder.path()).len(), 2, "no draft is left");
    }
}
