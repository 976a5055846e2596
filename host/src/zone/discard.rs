//! A zone that keeps nothing: what is written is counted and digested, for replays.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::{Entry, ObjectWriter, Page, Written, Zone, ZoneError};
use crate::digest::Digest;

/// A zone that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Discard {
    fn missing(key: &str) -> ZoneError {
        ZoneError::Missing {
            object: format!("discard:{key}"),
        }
    }
}

#[async_trait]
impl Zone for Discard {
    fn url(&self) -> &str {
        "discard:"
    }

    async fn create(&self, _: &str, bytes: Bytes) -> Result<Written, ZoneError> {
        Ok(Written {
            bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
        })
    }

    async fn writer(&self, _: &str) -> Result<Box<dyn ObjectWriter>, ZoneError> {
        Ok(Box::new(Counter {
            hasher: Sha256::new(),
            bytes: 0,
        }))
    }

    async fn read(&self, key: &str) -> Result<Bytes, ZoneError> {
        Err(Self::missing(key))
    }

    async fn read_range(&self, key: &str, _: Range<u64>) -> Result<Bytes, ZoneError> {
        Err(Self::missing(key))
    }

    async fn size(&self, _: &str) -> Result<Option<u64>, ZoneError> {
        Ok(None)
    }

    async fn page(&self, _: &str, _: Option<&str>) -> Result<Page, ZoneError> {
        Ok(Page::default())
    }

    async fn delete(&self, _: &str) -> Result<(), ZoneError> {
        Ok(())
    }

    async fn sweep_unfinished(&self, _: DateTime<Utc>, _: bool) -> Result<Vec<Entry>, ZoneError> {
        Ok(Vec::new())
    }
}

struct Counter {
    hasher: Sha256,
    bytes: u64,
}

#[async_trait]
impl ObjectWriter for Counter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Written, ZoneError> {
        let sha256: [u8; 32] = self.hasher.finalize().into();
        Ok(Written {
            bytes: self.bytes,
            sha256: Digest::from(sha256),
        })
    }
}
