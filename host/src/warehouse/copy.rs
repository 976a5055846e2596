//! Rows as PostgreSQL takes them, and what to do about those that it cannot hold.

pub(crate) use tidemill_codec::copy_in::{CopyColumn, CopyError, Encoder, Wire, encodes};

use crate::error::{Classify, ErrorKind};

impl Classify for CopyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Value { .. } => ErrorKind::Data,
            Self::Shape { .. } => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Value { .. } => {
                Some("correct the value in the source, or let the module reject the row".into())
            }
            Self::Shape { .. } => None,
        }
    }
}
