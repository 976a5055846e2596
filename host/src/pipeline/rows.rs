//! Digests of keys and of rows, and what to do about rows that have none.

pub(crate) use tidemill_codec::rows::{Digest128, Digester, RowsError, digest_array};

use crate::error::{Classify, ErrorKind};

impl Classify for RowsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoColumn(_) => ErrorKind::Config,
            Self::Type { .. } => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::NoColumn(_))
            .then(|| "name columns of the table under `key` in the project file".to_owned())
    }
}
