//! Zones: immutable objects under a prefix. The landing, processed and module zones are three values.
//!
//! An object is created once, whole, and never changed. Creating is conditional: of two hosts that
//! create the same key, one is told [`ZoneError::Exists`]. That is the only lock there is.

pub mod discard;
pub mod kept;
pub mod local;
pub mod log;
#[cfg(test)]
pub(crate) mod memory;
pub mod parquet;
pub mod s3;
pub mod watched;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::config::StorePlan;
use crate::connection::traffic::Traffic;
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind};

/// What went wrong in a zone.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The zone's URL cannot be understood.
    #[error("the zone URL `{url}` is not usable: {reason}")]
    Url {
        /// As the user wrote it.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object exists already: another host created it.
    #[error("{object} exists already")]
    Exists {
        /// Zone and key.
        object: String,
    },
    /// The object is not there.
    #[error("{object} is missing")]
    Missing {
        /// Zone and key.
        object: String,
    },
    /// A record of a numbered log is not there, and a later one is.
    #[error("{object} is missing, and {later} is there")]
    Gap {
        /// Zone and key of the missing one.
        object: String,
        /// Key of the later one.
        later: String,
    },
    /// The object is not what its manifest says.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// Zone and key.
        object: String,
        /// How it differs.
        reason: String,
    },
    /// The store creates what exists already, so that two hosts could overwrite each other.
    #[error(
        "the store of {zone} does not refuse to create an object that exists: two runs would overwrite each other"
    )]
    Unconditional {
        /// The zone.
        zone: String,
    },
    /// The zone cannot be read or written.
    #[error("cannot {action} {object}")]
    Unavailable {
        /// "read", "create", "list" or "delete".
        action: &'static str,
        /// Zone and key.
        object: String,
        /// The system's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ZoneError {
    /// Whether the zone answered that who asks may not do it.
    pub fn is_denied(&self) -> bool {
        let Self::Unavailable { cause, .. } = self else {
            return false;
        };
        let refusal = cause.downcast_ref::<s3::Refusal>();
        refusal.is_some_and(s3::Refusal::is_denied)
    }
}

impl Classify for ZoneError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::Unconditional { .. } => ErrorKind::Config,
            Self::Exists { .. } => ErrorKind::Conflict,
            Self::Missing { .. } | Self::Gap { .. } | Self::Damaged { .. } => ErrorKind::Data,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        use std::io::ErrorKind::{
            FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        match self {
            Self::Url { .. } => Some("write it as file://path or s3://bucket/prefix".into()),
            Self::Unconditional { .. } => Some(
                "use a store that honours `If-None-Match: *` on PutObject and CompleteMultipartUpload, as Amazon S3 and \
                 MinIO do"
                    .into(),
            ),
            Self::Exists { .. } => {
                Some("another run was faster; run again when it has ended".into())
            }
            Self::Missing { .. } | Self::Damaged { .. } => Some(
                "restore the object from a copy; `tidemill verify` lists everything that differs"
                    .into(),
            ),
            Self::Gap { .. } => Some("restore it from a copy of the zone, and run again".into()),
            Self::Unavailable { cause, .. } if cause.is::<s3::Refusal>() => cause
                .downcast_ref()
                .map(|refusal: &s3::Refusal| refusal.hint().into()),
            Self::Unavailable { cause, .. } => Some(
                match cause.downcast_ref().map(std::io::Error::kind) {
                    Some(StorageFull | QuotaExceeded | FileTooLarge) => {
                        "free some space there and run again; nothing half-written counts"
                    }
                    Some(PermissionDenied | ReadOnlyFilesystem) => {
                        "let the user that runs tidemill read and write there, and run again"
                    }
                    _ => "check that the zone exists, has space and may be written, and run again",
                }
                .into(),
            ),
        }
    }
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key: path parts separated by `/`, without a leading one.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was created, by the zone's clock.
    pub created: DateTime<Utc>,
}

/// Some objects of a listing, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub entries: Vec<Entry>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// Objects on one page of a listing: what S3 gives at once.
pub const PAGE: usize = 1_000;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The size of the object.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Immutable objects under a prefix.
///
/// Called by the pipeline and the registry, concurrently. Ok of `create` and of [`ObjectWriter::finish`]
/// means that the object is durable and whole; until then no reader sees anything of it. A listing may
/// lag behind and is used for sweeping only, never to decide what exists.
#[async_trait]
pub trait Zone: Send + Sync + std::fmt::Debug {
    /// Where the zone is: `file:///path`, `s3://bucket/prefix`.
    fn url(&self) -> &str;

    /// What is remembered of its logs, where every question is a request.
    fn memory(&self) -> Option<&log::Memory> {
        None
    }

    /// What is kept of its objects on this machine, where reading one is a request.
    fn kept(&self) -> Option<&kept::Kept> {
        None
    }

    /// Creates an object from bytes that are at hand.
    ///
    /// # Errors
    /// `Conflict` when the key exists, also when it holds the same bytes.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, ZoneError>;

    /// Begins an object that is written piece by piece.
    async fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, ZoneError>;

    /// The whole object.
    ///
    /// # Errors
    /// [`ZoneError::Missing`] when the key does not exist.
    async fn read(&self, key: &str) -> Result<Bytes, ZoneError>;

    /// Some bytes of an object.
    ///
    /// # Errors
    /// [`ZoneError::Missing`], and [`ZoneError::Damaged`] when the object is shorter.
    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError>;

    /// The size of an object, `None` when it does not exist.
    async fn size(&self, key: &str) -> Result<Option<u64>, ZoneError>;

    /// At most [`PAGE`] objects whose keys begin with `prefix` and come after `after`, in the order of their keys.
    /// What was never finished is not among them.
    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, ZoneError>;

    /// All objects whose keys begin with `prefix`, in the order of their keys.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, ZoneError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.key.as_str());
            let page = self.page(prefix, after).await?;
            entries.extend(page.entries);
            if !page.more {
                return Ok(entries);
            }
        }
    }

    /// Removes an object that no manifest names. Ok when it was not there.
    async fn delete(&self, key: &str) -> Result<(), ZoneError>;

    /// What was written of objects that were never finished, and last before `before` by the zone's clock. Unless
    /// it is a `rehearsal`, it is removed. The keys are the zone's own names of it.
    async fn sweep_unfinished(
        &self,
        before: DateTime<Utc>,
        rehearsal: bool,
    ) -> Result<Vec<Entry>, ZoneError>;
}

/// An object in the making. Dropped without `finish`, it leaves nothing that a reader could see.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError>;

    /// Makes the object durable and visible.
    ///
    /// # Errors
    /// `Conflict` when the key exists by now.
    async fn finish(self: Box<Self>) -> Result<Written, ZoneError>;
}

/// Opens zones. Those in the same store share a connection to it.
#[derive(Debug)]
pub struct Opener {
    base: PathBuf,
    store: Arc<s3::Store>,
}

impl Opener {
    /// Opens folders below `base`, and buckets of the store of these settings. Nothing is contacted yet.
    pub fn new(base: impl Into<PathBuf>, store: &StorePlan) -> Self {
        Self {
            base: base.into(),
            store: Arc::new(s3::Store::new(store.clone())),
        }
    }

    /// The same, which keeps on this machine what it is going to need again, in `folder` and up to `room_bytes`, and notes
    /// there where logs end.
    #[must_use]
    pub fn keeping(mut self, folder: &std::path::Path, room_bytes: u64) -> Self {
        let plan = self.store.plan().clone();
        let store = s3::Store::new(plan).keeping(folder, room_bytes);
        self.store = Arc::new(store);
        self
    }

    /// What goes to the store of the zones that this opened, and comes back.
    pub fn traffic(&self) -> Traffic {
        self.store.traffic().clone()
    }

    /// Opens the zone that `url` names. A folder is made when the first object is created, a bucket has to be there.
    ///
    /// # Errors
    /// `Config` when the scheme is unknown or the rest of it names no place.
    pub fn open(&self, url: &str) -> Result<Arc<dyn Zone>, ZoneError> {
        match url.split_once("://") {
            Some(("file", path)) => {
                let path = path.strip_prefix("./").unwrap_or(path);
                Ok(Arc::new(local::LocalZone::new(self.base.join(path))))
            }
            Some(("s3", location)) => Ok(Arc::new(s3::S3Zone::new(location, self.store.clone())?)),
            _ => Err(ZoneError::Url {
                url: url.to_owned(),
                reason: "its scheme is neither file nor s3".into(),
            }),
        }
    }
}

/// Opens a single zone: a folder below `base`, or a bucket of the default chain.
///
/// # Errors
/// As [`Opener::open`].
pub fn open(url: &str, base: &std::path::Path) -> Result<Arc<dyn Zone>, ZoneError> {
    Opener::new(base, &StorePlan::default()).open(url)
}
