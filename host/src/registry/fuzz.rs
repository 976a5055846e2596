//! What [`crate::fuzzing`] may see of this room.

use serde::Serialize;

pub(crate) use super::history::History;
pub(crate) use super::record::Record;
use super::{RegistryError, record};

/// The record in `bytes`.
pub(crate) fn parse<T: Record>(name: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    record::parse(name, bytes)
}

/// The record as bytes.
pub(crate) fn print<T: Serialize>(record: &T) -> Vec<u8> {
    record::print(record)
}
