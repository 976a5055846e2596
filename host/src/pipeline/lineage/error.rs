//! What is asked for and is not there, with what may have been meant.

use crate::error::{Classify, ErrorKind};

/// What is asked for and is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineageError {
    /// No table of the warehouse has that name.
    #[error("the project makes no table `{table}`")]
    NoTable {
        /// The name.
        table: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// Tables and views.
        known: Vec<String>,
    },
    /// The table has no such column.
    #[error("the table `{table}` has no column `{column}`")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// Its columns.
        known: Vec<String>,
    },
}

impl Classify for LineageError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        let (nearest, known, what) = match self {
            Self::NoTable { nearest, known, .. } => (nearest, known, "tables and views"),
            Self::NoColumn { nearest, known, .. } => (nearest, known, "columns"),
        };
        Some(match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if known.is_empty() => {
                "add a [transform.NAME] with its `module` to the project file".into()
            }
            None => format!("{what}: {}", known.join(", ")),
        })
    }
}

/// The known name that is nearest to `name`, where one is near enough to be meant.
pub(in crate::pipeline) fn nearest<'n>(
    name: &str,
    known: impl Iterator<Item = &'n str>,
) -> Option<String> {
    const ALIKE: f64 = 0.8;
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.to_owned())
}
