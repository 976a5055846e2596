//! Temporary files within a bound: what does not fit into memory goes there, and the disk of a function is small.
//!
//! A file has no name, so that nothing of it is left when its process is killed. Its bytes count until its last handle is
//! closed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A disk on which temporary files may have so many bytes together.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    most_bytes: u64,
    used: Arc<AtomicU64>,
    /// Whether a file of this handle did not fit.
    is_full: Arc<AtomicBool>,
}

impl Disk {
    /// A disk for `most_bytes`; as much as there is where they are not known.
    pub(crate) fn of(most_bytes: Option<u64>) -> Self {
        Self {
            most_bytes: most_bytes.unwrap_or(u64::MAX),
            used: Arc::default(),
            is_full: Arc::default(),
        }
    }

    /// The same disk for someone who wants to know whether it was he for whom there was no room.
    pub(crate) fn share(&self) -> Self {
        Self {
            is_full: Arc::default(),
            ..self.clone()
        }
    }

    /// The bound, where something did not fit.
    pub(crate) fn full(&self) -> Option<u64> {
        self.is_full
            .load(Ordering::Relaxed)
            .then_some(self.most_bytes)
    }

    /// A new file.
    pub(crate) fn file(&self) -> io::Result<TemporaryFile> {
        let space = Space {
            disk: self.clone(),
            bytes: AtomicU64::new(0),
        };
        Ok(TemporaryFile {
            file: tempfile::tempfile()?,
            space: Arc::new(space),
        })
    }
}

/// What one file takes of a disk.
#[derive(Debug)]
struct Space {
    disk: Disk,
    bytes: AtomicU64,
}

impl Space {
    fn take(&self, bytes: u64) -> io::Result<()> {
        let disk = &self.disk;
        let before = disk.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > disk.most_bytes {
            disk.is_full.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.disk.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A file that nobody else sees. It is written once from its beginning on.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: File,
    space: Arc<Space>,
}

impl TemporaryFile {
    /// Another handle of the same file.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            space: self.space.clone(),
        })
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.space.take(bytes.len() as u64)?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for TemporaryFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for TemporaryFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_share_a_disk_until_they_are_closed_and_who_did_not_fit_knows_it() {
        let disk = Disk::of(Some(100));
        let (mine, other) = (disk.share(), disk.share());
        let mut first = mine.file().expect("a file");
        first.write_all(&[7; 60]).expect("room");
        let mut second = other.file().expect("a file");
        let refused = second.write_all(&[7; 60]).expect_err("no room");
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!((mine.full(), other.full()), (None, Some(100)));
        drop(second);
        // Another handle keeps the bytes, and reads them.
        let mut reader = first.try_clone().expect("a handle");
        drop(first);
        let mut third = disk.file().expect("a file");
        assert!(third.write_all(&[7; 60]).is_err());
        drop(third);
        reader.rewind().expect("a file seeks");
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("it is read");
        assert_eq!(read, [7; 60]);
        drop(reader);
        let mut fourth = disk.file().expect("a file");
        fourth.write_all(&[7; 100]).expect("room");
    }
}
