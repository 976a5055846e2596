//! What stops a table of a source, or the whole landing.

use crate::config::OnSchemaChange;
use crate::error::{Classify, ErrorKind};
use crate::table::TableName;

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
    /// A table that was landed before is gone, or may not be read any more.
    #[error("the source does not give the table any more")]
    Gone,
    /// A table that was landed before has another name now.
    #[error("the table is called `{0}` in the source now")]
    Renamed(TableName),
    /// The schema changed in a way that the policy does not let through.
    #[error("its schema changed: {changes}")]
    SchemaChanged {
        /// The table.
        table: String,
        /// What changed.
        changes: String,
        /// The policy.
        policy: OnSchemaChange,
    },
    /// The key of a landed table is another one now.
    #[error("its key was ({before}) and is ({after}) now")]
    KeyChanged {
        /// The key columns with their types, as landed before.
        before: String,
        /// The same as discovered now.
        after: String,
    },
    /// A column that the project wants as text is not there.
    #[error("it has no column `{0}`, which the project file wants landed as text")]
    NoTextColumn(String),
    /// A column that the project marks sensitive is not there and never was.
    #[error("it has no column `{0}`, which the project file marks sensitive")]
    NoSensitiveColumn(String),
    /// The project marks columns of a table sensitive that the source does not give.
    #[error("the source gives no such table, of which the project file marks columns sensitive")]
    NoSensitiveTable,
    /// The source has no table at all that the project takes.
    #[error("the source `{0}` gives no table at all")]
    Empty(String),
    /// What does not fit into memory does not fit onto the disk that the run may use, either.
    #[error("it needs temporary files of more than {} MiB", most_bytes >> 20)]
    DiskFull {
        /// What all temporary files together may have.
        most_bytes: u64,
    },
    /// Another run that shares the work is landing it.
    #[error("another run is landing the source `{0}` at this moment")]
    Elsewhere(String),
}

impl ExtractError {
    /// A table that was landed before is not there under its name.
    pub(in crate::pipeline) fn gone(renamed_to: Option<TableName>) -> Self {
        renamed_to.map_or(Self::Gone, Self::Renamed)
    }
}

impl Classify for ExtractError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Elsewhere(_) => ErrorKind::Conflict,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTable { .. } => "list the tables with `tidemill discover`".into(),
            Self::Gone => {
                "give it back its name, or the source's user SELECT on it; or add it to `exclude` of the source".into()
            }
            Self::Renamed(name) => format!(
                "give it back its name, or add the old one to `exclude` of the source: `{name}` is landed as a table of its own"
            ),
            Self::SchemaChanged { table, policy, .. } => format!(
                "on_schema_change is {policy}; `tidemill run --accept {}` goes on with the table as it is now and keeps what was landed",
                argument(table)
            ),
            Self::KeyChanged { .. } => {
                "what landed is found by its key: name the old one under `key` of the table if it still tells rows apart, or land the table as a source of another name".into()
            }
            Self::DiskFull { .. } => "raise `temporary` under [limits], and with it the function's ephemeral storage: nothing of the table was landed, and the next run goes on with it".into(),
            Self::NoTextColumn(_) => "correct `text` of the table in the project file".into(),
            Self::NoSensitiveColumn(_) => "correct `sensitive` of the table in the project file: nothing is protected by a name that is not there".into(),
            Self::NoSensitiveTable => "correct the name of the table above `sensitive` in the project file; `tidemill discover` lists them".into(),
            Self::Elsewhere(_) => "run again when it has ended".into(),
            Self::Empty(_) => "check `include` and `exclude`, and the rights of the source's user".into(),
        })
    }
}

/// A table's name as one argument of a shell.
fn argument(table: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match table.chars().all(is_plain) {
        true => table.to_owned(),
        false => format!("'{}'", table.replace('\'', "'\\''")),
    }
}
