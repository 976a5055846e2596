//! What stops a table of a source, or the whole landing.

use crate::error::{Classify, ErrorKind};

/// What stops a table, or the whole landing, besides the errors of the rooms.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExtractError {
    /// A table that was asked for is not in the source, or the project leaves it out.
    #[error("the source `{source_name}` gives no table `{table}`")]
    NoTable {
        /// The source's name.
        source_name: String,
        /// The table.
        table: String,
    },
    /// A table that was landed before is gone.
    #[error("the table is no longer in the source")]
    Gone,
    /// The key of a landed table is another one now.
    #[error("its key was ({before}) and is ({after}) now")]
    KeyChanged {
        /// The key columns with their types, as landed before.
        before: String,
        /// The same as discovered now.
        after: String,
    },
    /// The source has no table at all that the project takes.
    #[error("the source `{0}` gives no table at all")]
    Empty(String),
}

impl Classify for ExtractError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTable { .. } => "list the tables with `tidemill discover`".into(),
            Self::Gone => "add it to `exclude` of the source, or give it back its name".into(),
            Self::KeyChanged { .. } => {
                "what landed is found by its key: give the table back its key, or land it as a source of another name".into()
            }
            Self::Empty(_) => "check `include` and `exclude`, and the rights of the source's user".into(),
        })
    }
}
