//! Why a module cannot be built or looked into.

use std::path::PathBuf;

use tidemill_component::{BuildError, OutlineError};

use super::sign::PASSWORD;
use crate::error::{Classify, ErrorKind};

/// Why a module cannot be built or looked into.
#[derive(Debug, thiserror::Error)]
pub enum AuthoringError {
    /// The crate does not become a component.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The bytes are no component.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file is no secret key, or the password does not open it.
    #[error("{} is no secret key of minisign that can be used", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
        /// Whether there was a password.
        has_password: bool,
        /// Why.
        #[source]
        cause: minisign::PError,
    },
    /// A file is no signature.
    #[error("{} is no signature of minisign", file.display())]
    NoSignature {
        /// The file.
        file: PathBuf,
    },
    /// A file is no report of a shadow run.
    #[error("{} is no report of a shadow run", file.display())]
    NoReport {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A key or a signature cannot be made.
    #[error("the key does not work")]
    Key(#[source] minisign::PError),
    /// What was signed cannot be read.
    #[error("the signature that was made cannot be read")]
    Unreadable,
    /// The thread that built it ended without an answer.
    #[error("building the module ended without an answer")]
    Lost(#[source] tokio::task::JoinError),
}

impl Classify for AuthoringError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Build(error) => match error {
                BuildError::Compile { .. } | BuildError::NoModule { .. } => ErrorKind::Module,
                BuildError::Program { .. } | BuildError::Read { .. } => ErrorKind::Unavailable,
                BuildError::Unknown(_) => ErrorKind::Bug,
                _ => ErrorKind::Config,
            },
            Self::Outline(_) => ErrorKind::Module,
            Self::Read { .. } | Self::Write { .. } => ErrorKind::Unavailable,
            Self::NoKey { .. } | Self::NoSignature { .. } | Self::NoReport { .. } => {
                ErrorKind::Config
            }
            Self::Key(_) | Self::Unreadable | Self::Lost(_) => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Build(BuildError::NoTarget { rustup: true }) => {
                Some("build with --add-target, and rustup adds it".into())
            }
            Self::Build(error) => error.hint(),
            Self::Outline(_) => Some("make one of its crate with `tidemill module build`".into()),
            Self::Read { cause, .. } if cause.kind() == std::io::ErrorKind::IsADirectory => Some(
                "name a file; of the folder of a crate `tidemill module build` makes one".into(),
            ),
            Self::Read { .. } => Some("check that the file exists and that you may read it".into()),
            Self::Write { cause, .. } if cause.kind() == std::io::ErrorKind::AlreadyExists => {
                Some("name a file that is not there: a key is never written over".into())
            }
            Self::Write { .. } => {
                Some("check that the folder exists and that you may write there".into())
            }
            Self::NoKey {
                has_password: false,
                ..
            } => Some(format!(
                "name the file of a secret key; its password, where it has one, belongs into the variable {PASSWORD}"
            )),
            Self::NoKey { .. } => Some(format!(
                "name the file of a secret key, and look at the password in the variable {PASSWORD}"
            )),
            Self::NoSignature { .. } => {
                Some("make one with `tidemill module sign` or `minisign -S`".into())
            }
            Self::NoReport { .. } => {
                Some("make one with `tidemill module shadow … --output json`".into())
            }
            Self::Key(_) | Self::Unreadable | Self::Lost(_) => None,
        }
    }
}
