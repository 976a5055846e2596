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
    /// Nobody vouches for it whom the project trusts.
    #[error("{} {module}", signed_by(signers))]
    Untrusted {
        /// The module.
        module: String,
        /// The keys that signed it.
        signers: Vec<String>,
        /// The keys that the project trusts.
        trusted: Vec<String>,
    },
    /// A signature that names a trusted key is not of that key, or not for this module.
    #[error("the signature of {module} by key {key_id} is wrong: {reason}")]
    Forged {
        /// The module.
        module: String,
        /// The key that is named.
        key_id: String,
        /// What is wrong.
        reason: String,
    },
    /// Another version was promoted since somebody looked.
    #[error("{module} was not promoted: {}", overtaken(active))]
    Overtaken {
        /// What was to be promoted.
        module: String,
        /// The version that is active now, and who promoted it.
        active: Option<(String, String)>,
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

fn signed_by(signers: &[String]) -> String {
    match signers {
        [] => "nobody has signed".to_owned(),
        [one] => format!("a key that the project does not trust ({one}) has signed"),
        several => {
            let keys = several.join(", ");
            format!("keys that the project does not trust ({keys}) have signed")
        }
    }
}

fn overtaken(active: &Option<(String, String)>) -> String {
    match active {
        Some((version, who)) => format!("meanwhile {who} promoted {version}"),
        None => "meanwhile no version is active any more".into(),
    }
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
            | Self::Untrusted { .. }
            | Self::Format { .. } => ErrorKind::Config,
            Self::Damaged { .. } | Self::Forged { .. } => ErrorKind::Data,
            Self::Contended { .. } | Self::Overtaken { .. } => ErrorKind::Conflict,
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
            Self::Untrusted { trusted, .. } => Some(match trusted.is_empty() {
                true => "sign it with `tidemill module sign` and name the key under [modules] in the project file; \
                         while you develop, `unsigned = true` there does without"
                    .into(),
                false => format!(
                    "sign it with a key that the project file trusts ({}), or add its key to `keys` under [modules]",
                    trusted.join(", ")
                ),
            }),
            Self::Forged { .. } => Some(
                "do not use it; find out who changed the module or its signature, and push a good one under a higher \
                 version"
                    .into(),
            ),
            Self::Overtaken { .. } => {
                Some("look at `tidemill module list`, and promote it again if that is still right".into())
            }
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
