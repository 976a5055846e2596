//! What the author of a module needs: its crate as a component, what stands in a component, and a signature.
//!
//! Cargo and rustc are called here and nowhere else in the host. What they make is as strange to tidemill as any other
//! module: it is described in the sandbox before anything is said of it.

mod build;
mod error;
mod inspect;
mod sign;

pub use build::{Built, build};
pub use error::AuthoringError;
pub use inspect::{Inspection, MadeOf, inspect};
pub use sign::{KeyFiles, PASSWORD, SecretFile, key, sign};
pub use tidemill_component::Toolchain;
