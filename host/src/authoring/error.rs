//! Why a module cannot be built or looked into.

use std::path::PathBuf;

use tidemill_component::{BuildError, OutlineError};

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
            Self::Lost(_) => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Build(BuildError::NoTarget { rustup: true }) => {
                Some("build with --add-target, and rustup adds it".into())
            }
            Self::Build(error) => error.hint(),
            Self::Outline(_) => Some("make one of its crate with `tidemill module build`".into()),
            Self::Read { .. } => Some("check that the file exists and that you may read it".into()),
            Self::Write { .. } => {
                Some("check that the folder exists and that you may write there".into())
            }
            Self::Lost(_) => None,
        }
    }
}
