//! What can be wrong with a project file, always with its place.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Classify, ErrorKind};

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the project file; `None` where the file says nothing and should.
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, Some(line)) => write!(f, "{}:{line}", file.display()),
            Self::File(file, None) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting and where it was written. Boxed in errors, which are returned far more often than made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where it was written, or the table that lacks it.
    pub place: Place,
    /// The whole key: `limits.memory`.
    pub key: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.place, self.key)
    }
}

/// What is wrong with the settings.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// There is no project file.
    #[error("there is no tidemill.toml in {} or above it", folder.display())]
    NotFound {
        /// Where the search began.
        folder: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// The file is not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser expected.
        message: String,
    },
    /// A line of the `.env` file is not `NAME=value`.
    #[error("{place} is not a line of the form NAME=value")]
    Dotenv {
        /// Where.
        place: Place,
    },
    /// A key that does not exist.
    #[error("{}: there is no setting `{}`", setting.place, setting.key)]
    UnknownKey {
        /// Which.
        setting: Box<Setting>,
        /// The known key that is nearest to it.
        nearest: Option<String>,
        /// All keys known there.
        known: Vec<String>,
    },
    /// A key without which nothing can be done.
    #[error("{}: the setting `{}` is missing", setting.place, setting.key)]
    MissingKey {
        /// Which.
        setting: Box<Setting>,
        /// How it may look.
        example: String,
    },
    /// A value of another type.
    #[error("{setting} is {found}, not {expected}")]
    Type {
        /// Which.
        setting: Box<Setting>,
        /// "an integer".
        found: &'static str,
        /// "a text".
        expected: &'static str,
        /// How it may look, as TOML.
        example: Option<String>,
    },
    /// A value that cannot be.
    #[error("{setting} is \"{value}\", which {problem}")]
    Value {
        /// Which.
        setting: Box<Setting>,
        /// As the user wrote it, references unresolved.
        value: String,
        /// "is not a size".
        problem: String,
        /// How it may look.
        example: String,
    },
    /// A reference to something that is not there.
    #[error("{setting} refers to {target}, {problem}")]
    Reference {
        /// Which.
        setting: Box<Setting>,
        /// "the environment variable TOTESYS_URL".
        target: String,
        /// "which is not set".
        problem: String,
        /// The next step.
        hint: String,
    },
    /// A flag that assigns a setting but is not `KEY=VALUE`.
    #[error("--set {0} is not of the form KEY=VALUE")]
    Assignment(String),
}

impl Classify for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } => {
                "make a project with `tidemill init`, or name one with --project".into()
            }
            Self::Unreadable { .. } => "check that it exists and that you may read it".into(),
            Self::Syntax { .. } => "see https://toml.io for how TOML is written".into(),
            Self::Dotenv { .. } => "write it as NAME=value, or begin the line with #".into(),
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { known, .. } => format!("known here: {}", known.join(", ")),
            Self::MissingKey { example, .. } => format!("add {example}"),
            Self::Type {
                example: Some(example),
                ..
            } => format!("write it as {example}"),
            Self::Type { .. } => return None,
            Self::Value { example, .. } => format!("write it as {example}"),
            Self::Reference { hint, .. } => hint.clone(),
            Self::Assignment(_) => "write it as --set limits.memory=\"512 MiB\"".into(),
        })
    }
}
