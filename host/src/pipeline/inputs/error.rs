//! Why an input cannot be given to a module.

use arrow::datatypes::DataType;

use crate::error::{Classify, ErrorKind};

/// Why an input cannot be given to a module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The table has never been landed.
    #[error("the module reads the table `{0}`, which has not been landed")]
    NotLanded(String),
    /// The table is landed in parts, and the last of them is not there yet.
    #[error("the module reads all of the table `{0}`, of which a part has been landed")]
    InParts(String),
    /// A column is not there.
    #[error("the module reads `{table}.{column}`, which has not been landed")]
    NoColumn {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column was landed once and is gone.
    #[error("the module reads `{table}.{column}`, which the source does not have any more")]
    Dropped {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
    },
    /// The rows that changed are found by other columns than the module says.
    #[error(
        "the module tells rows of `{table}` by ({declared}), and they are landed by ({landed})"
    )]
    OtherKey {
        /// The landed table.
        table: String,
        /// The key that the module declared.
        declared: String,
        /// The landed key.
        landed: String,
    },
    /// A column has a type that does not become the declared one without loss.
    #[error("the module reads `{table}.{column}` as {declared}, and it is landed as {landed}")]
    Type {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
        /// What the module declared.
        declared: DataType,
        /// What is landed.
        landed: DataType,
    },
    /// A value does not fit the declared type.
    #[error(
        "a value of `{table}.{column}` does not fit the {declared} that the module reads it as"
    )]
    Value {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
        /// What the module declared.
        declared: DataType,
        /// What does not fit.
        #[source]
        cause: arrow::error::ArrowError,
    },
    /// A NULL where the module declared none.
    #[error("`{table}.{column}` holds a NULL, and the module declared that it does not")]
    Null {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
    },
    /// A deleted row cannot be told by the key that the module declared.
    #[error(
        "the module takes `{column}` for a key of `{table}`, whose rows are landed with another key"
    )]
    Key {
        /// The landed table.
        table: String,
        /// The column of the declared key that no deleted row comes with.
        column: String,
    },
    /// A chain of landings leads to one that did not bring anything.
    #[error("landing {landing} does not have the table `{table}` that a later one says it brought")]
    Chain {
        /// The landing.
        landing: u64,
        /// The table.
        table: String,
    },
    /// Rows could not be put together.
    #[error("the landed rows of `{table}` do not fit together")]
    Rows {
        /// The landed table.
        table: String,
        /// Why.
        #[source]
        cause: arrow::error::ArrowError,
    },
}

impl Classify for InputError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLanded(_)
            | Self::NoColumn { .. }
            | Self::Dropped { .. }
            | Self::OtherKey { .. }
            | Self::Key { .. }
            | Self::Type { .. } => ErrorKind::Config,
            Self::Value { .. } | Self::Null { .. } | Self::Chain { .. } => ErrorKind::Data,
            Self::InParts(_) => ErrorKind::Unavailable,
            Self::Rows { .. } => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotLanded(_) => {
                Some("take the table into the source's `include`, and extract".into())
            }
            Self::InParts(_) => Some("extract again: each call lands a further part".into()),
            Self::NoColumn { .. }
            | Self::Dropped { .. }
            | Self::OtherKey { .. }
            | Self::Key { .. }
            | Self::Type { .. } => Some("use a version of the module that fits the source".into()),
            Self::Value { .. } | Self::Null { .. } => Some(
                "use a version of the module that declares the column as it is in the source"
                    .into(),
            ),
            Self::Chain { .. } => Some("restore the landing manifests from a copy".into()),
            Self::Rows { .. } => None,
        }
    }
}
