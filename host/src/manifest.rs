//! Manifests: the numbered records whose existence is the commit. This room knows Arrow types but no Arrow data.
//!
//! ```text
//! <prefix>/_manifests/0000000042.json      created only if absent, so the write is the lock
//!
//! log        ManifestLog: the manifests of one kind in one zone
//! landing    commit 1: what one landing brought, and the state of every table after it
//! processed  what the transforms of one landing made, or of every landing there is: a rebuild
//! ```
//!
//! Numbers are dense and begin at 1. The newest manifest carries everything the next run needs, so that nobody reads
//! all of history. What a manifest of [`FORMAT`] looks like is fixed by the files in `tests/fixtures`.

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod landing;
mod log;
mod processed;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::run::RunId;

pub use self::error::ManifestError;
pub use self::landing::{IndexPart, IndexSegment, LANDING_FORMAT, LandedTable, LandingManifest};
pub use self::log::ManifestLog;
pub use self::processed::{
    CurrentRows, InputObjects, LandedObjects, LastRebuild, PROCESSED_FORMAT, ProcessedColumn,
    ProcessedManifest, ProcessedOutput, ProcessedTable, RebuiltLanding, RebuiltTable, Through,
    Transform,
};

/// The format that this version writes. It reads every format up to it.
pub const FORMAT: u32 = 1;

/// A record that a [`ManifestLog`] holds.
pub trait Manifest: Serialize + DeserializeOwned + Send + Sync {
    /// The newest format of its kind that this version reads.
    const KNOWN: u32 = FORMAT;

    /// Its number in the log.
    fn sequence(&self) -> u64;

    /// The run that committed it.
    fn run(&self) -> &RunId;

    /// Every object that it names in the zone of its log, those of runs before included.
    fn objects(&self) -> Vec<&Object>;
}

/// An immutable object that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its key in the zone.
    pub key: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Rows of several objects: no more than fit, for a damaged manifest may claim any number of them.
pub fn rows_of<'o>(objects: impl IntoIterator<Item = &'o Object>) -> u64 {
    let rows = objects.into_iter().map(|object| object.rows);
    rows.fold(0, u64::saturating_add)
}
