//! What the tests of the whole share: real servers, the binary, the modules, project folders, and the oracle.
//!
//! ```text
//! Server ──▶ databases          Project ──▶ tidemill …          oracle ──▶ Star ◀── warehouse
//!                                                               Evolution ──▶ versions
//! ```
//!
//! The oracle knows the source's tables and the star's columns, and nothing of modules, zones or manifests.

pub mod binary;
pub mod evolution;
pub mod guests;
pub mod oracle;
pub mod postgres;
pub mod project;
pub mod star;

/// A variable of the environment that a person or `cargo x test` may have set.
///
/// `std::env::var` is banned in the product, where settings come through config; tests have no config.
pub fn variable(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(Into::into)
}
