//! What can be wrong with a manifest, and what the operator does about it.

use crate::error::{Classify, ErrorKind};
use crate::zone::ZoneError;

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A later version of tidemill wrote it.
    #[error("{manifest} has format {found}, and this version reads up to {known}")]
    TooNew {
        /// Zone and key.
        manifest: String,
        /// The format it says.
        found: u64,
        /// The newest format of its kind that is understood.
        known: u32,
    },
    /// It cannot be understood.
    #[error("{manifest} is damaged")]
    Damaged {
        /// Zone and key.
        manifest: String,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// Another run has committed the number meanwhile.
    #[error("another run has committed {manifest} meanwhile")]
    Taken {
        /// Zone and key.
        manifest: String,
    },
    /// The zone failed.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

impl Classify for ManifestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooNew { .. } => ErrorKind::Config,
            Self::Damaged { .. } => ErrorKind::Data,
            Self::Taken { .. } => ErrorKind::Conflict,
            Self::Zone(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooNew { .. } => {
                Some("install the version of tidemill that wrote it, or a later one".into())
            }
            Self::Damaged { .. } => Some("restore it from a copy of the zone".into()),
            Self::Taken { .. } => {
                Some("nothing was committed here; run again when the other run has ended".into())
            }
            Self::Zone(error) => error.hint(),
        }
    }
}
