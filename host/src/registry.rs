//! The registry: name and version to verified bytes, and the promotion log.
