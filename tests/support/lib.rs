//! What the tests of the whole share: real servers, the binary, the modules, project folders, and the oracle.
//!
//! ```text
//! Server ──▶ databases          Project ──▶ tidemill …          oracle ──▶ Star ◀── warehouse
//!                                                               Evolution ──▶ versions
//! ```
//!
//! The oracle knows the source's tables and the star's columns, and nothing of modules, zones or manifests.

#[cfg(target_os = "linux")]
pub mod beginning;
pub mod binary;
pub mod bundle;
pub mod clock;
pub mod collector;
pub mod evolution;
pub mod figures;
pub mod gate;
pub mod guests;
pub mod host;
pub mod iam;
pub mod inventory;
pub mod lake;
pub mod lambda;
pub mod mounts;
pub mod oci;
pub mod oracle;
pub mod place;
#[cfg(target_os = "linux")]
pub mod points;
pub mod postgres;
pub mod project;
pub mod proxy;
pub mod puppet;
pub mod service;
pub mod sessions;
pub mod siege;
pub mod star;
pub mod store;
pub mod storm;
#[cfg(target_os = "linux")]
pub mod trace;
pub mod users;
pub mod versions;
pub mod world;

/// A variable of the environment that a person or `cargo x test` may have set.
///
/// `std::env::var` is banned in the product, where settings come through config; tests have no config.
pub fn variable(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(Into::into)
}
