//! Why a row cannot be traced.

use arrow::error::ArrowError;

use crate::error::{Classify, ErrorKind};

/// Why a row cannot be traced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    /// The project makes no such table.
    #[error("the project makes no table `{table}`")]
    NoTable {
        /// The table.
        table: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// What it makes.
        known: Vec<String>,
    },
    /// Nothing has been made of it.
    #[error("no landing has been made into `{0}` yet")]
    NotMade(String),
    /// Its rows have no key.
    #[error("the rows of `{0}` have no key to be found by")]
    Keyless(String),
    /// Too few or too many values.
    #[error("the key of `{table}` is ({key}), and {given} values are given")]
    Parts {
        /// The table.
        table: String,
        /// Its key columns.
        key: String,
        /// How many values there are.
        given: usize,
    },
    /// A column is named that is not in the key, or one is missing.
    #[error("the key of `{table}` is ({key}), and `{column}` is {problem}")]
    Column {
        /// The table.
        table: String,
        /// Its key columns.
        key: String,
        /// The column.
        column: String,
        /// "not in it", "given twice".
        problem: &'static str,
    },
    /// A value that a key column cannot have.
    #[error("`{column}` is of type {data_type}, and `{value}` is none")]
    Type {
        /// The column.
        column: String,
        /// Its type in Arrow's notation.
        data_type: String,
        /// What was given.
        value: String,
    },
    /// There is and was no such row.
    #[error("`{table}` has no row with {key}, and never had one")]
    NoRow {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
    /// Rows cannot be compared with the key.
    #[error("rows could not be looked through")]
    Rows(#[from] ArrowError),
}

impl Classify for TraceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Rows(_) => ErrorKind::Bug,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTable {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::NoTable { known, .. } if known.is_empty() => {
                "add a [transform.NAME] with its `module` to the project file".into()
            }
            Self::NoTable { known, .. } => format!("it makes: {}", known.join(", ")),
            Self::NotMade(_) => "make it with `tidemill run`".into(),
            Self::Keyless(table) => {
                format!("`tidemill lineage {table}` shows what it is made of as a whole")
            }
            Self::Parts { table, key, .. } | Self::Column { table, key, .. } => {
                let parts: Vec<String> = key
                    .split(", ")
                    .map(|column| format!("{column}=…"))
                    .collect();
                format!("write it as `tidemill trace {table} {}`", parts.join(" "))
            }
            Self::Type { data_type, .. } => match data_type.as_str() {
                "Date32" => "write a date like 2026-01-31".into(),
                _ => "write it as `tidemill query` shows it".into(),
            },
            Self::NoRow { table, .. } => format!(
                "rows that a module refused are in quarantine and not in `{table}`; `tidemill runs` counts them"
            ),
            Self::Rows(_) => return None,
        })
    }
}
