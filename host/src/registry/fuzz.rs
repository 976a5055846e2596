//! What [`crate::fuzzing`] may see of this room.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use super::history::History;
use super::{RegistryError, record};

/// The record in `bytes`.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    record::parse(name, bytes)
}

/// The record as bytes.
pub(crate) fn print<T: Serialize>(record: &T) -> Vec<u8> {
    record::print(record)
}
