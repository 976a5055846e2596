//! What can go wrong with the registry, and what the operator does about it.

use crate::digest::Digest;
use crate::error::{Classify, ErrorKind};
use crate::zone::ZoneError;

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A name or a version that cannot become a path.
    #[error("`{text}` is not a module {what}: {reason}")]
    Name {
        /// "name", "version" or "reference".
        what: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No module has that name.
    #[error("the registry has no module `{name}`")]
    UnknownModule {
        /// The name.
        name: String,
        /// The name that is most like it.
        nearest: Option<String>,
    },
    /// The module has no such version.
    #[error("module {name} has no version {version}")]
    UnknownVersion {
        /// The module.
        name: String,
        /// The version.
        version: String,
        /// The versions there are, the highest last.
        known: Vec<String>,
    },
    /// No version of the module has that digest.
    #[error("module {name} has no version with the digest {digest}")]
    UnknownDigest {
        /// The module.
        name: String,
        /// The digest.
        digest: Digest,
    },
    /// The module is there, but no promotion matches.
    #[error("no promoted version of {name} matches `{wanted}`")]
    NotPromoted {
        /// The module.
        name: String,
        /// What was asked for.
        wanted: String,
        /// The version that is active.
        active: Option<String>,
    },
    /// The version exists with other bytes.
    #[error("module {name}@{version} exists already with other bytes")]
    Immutable {
        /// The module.
        name: String,
        /// The version.
        version: String,
        /// What is there; `None` when its push never ended.
        found: Option<Digest>,
        /// What was to be pushed.
        pushed: Digest,
    },
    /// What is stored is not what its record says.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// Its key.
        object: String,
        /// How it differs.
        reason: String,
    },
    /// A newer tidemill wrote it.
    #[error("{object} has format {found}, and this version reads up to {known}")]
    Format {
        /// Its key.
        object: String,
        /// Its format.
        found: u64,
        /// The newest format that is understood.
        known: u32,
    },
    /// Another promotion was faster, several times in a row.
    #[error("promoting {name}@{version} lost against other promotions")]
    Contended {
        /// The module.
        name: String,
        /// The version.
        version: String,
    },
    /// The zone does not work.
    #[error("the module registry is not usable")]
    Zone(#[from] ZoneError),
}

impl Classify for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. }
            | Self::UnknownModule { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownDigest { .. }
            | Self::NotPromoted { .. }
            | Self::Immutable { .. }
            | Self::Format { .. } => ErrorKind::Config,
            Self::Damaged { .. } => ErrorKind::Data,
            Self::Contended { .. } => ErrorKind::Conflict,
            Self::Zone(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name { .. } => {
                Some("write it like dim-staff, dim-staff@1 or dim-staff@1.2.3".into())
            }
            Self::UnknownModule { nearest, .. } => Some(nearest.as_ref().map_or_else(
                || "push it with `tidemill module push`; `tidemill module list` shows all".into(),
                |name| format!("did you mean `{name}`? `tidemill module list` shows all"),
            )),
            Self::UnknownVersion { known, .. } if known.is_empty() => {
                Some("push it with `tidemill module push`".into())
            }
            Self::UnknownVersion { known, .. } => Some(format!("there are {}", known.join(", "))),
            Self::UnknownDigest { .. } => {
                Some("`tidemill module list` shows versions and digests".into())
            }
            Self::NotPromoted { name, active, .. } => Some(active.as_ref().map_or_else(
                || format!("promote one with `tidemill module promote {name}@VERSION`"),
                |version| format!("{version} is active; ask for it, or promote another"),
            )),
            Self::Immutable { .. } => Some("push it under a higher version".into()),
            Self::Damaged { object, .. } if object.contains(super::PROMOTIONS) => {
                Some("restore it from a copy of the modules zone".into())
            }
            Self::Damaged { .. } => Some(
                "restore it from a copy of the modules zone, or push the module again under a higher version"
                    .into(),
            ),
            Self::Format { .. } => {
                Some("install the version of tidemill that wrote it, or a later one".into())
            }
            Self::Contended { .. } => Some("run it again".into()),
            Self::Zone(error) => error.hint(),
        }
    }
}
