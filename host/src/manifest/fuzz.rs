//! What [`crate::fuzzing`] may see of this room.

use super::{Manifest, ManifestError, log};

/// The manifest in `bytes`.
pub(crate) fn parse<M: Manifest>(name: &str, bytes: &[u8]) -> Result<M, ManifestError> {
    log::parse(bytes, || name.to_owned())
}

/// The manifest as bytes.
pub(crate) fn print<M: Manifest>(name: &str, manifest: &M) -> Result<Vec<u8>, ManifestError> {
    log::print(manifest, || name.to_owned())
}
