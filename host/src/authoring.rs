//! What the author of a module needs: a crate to begin with, its crate as a component, what stands in a component, an
//! examination, and a signature.
//!
//! Cargo and rustc are called here and nowhere else in the host. What they make is as strange to tidemill as any other
//! module: it is described in the sandbox before anything is said of it.

mod build;
mod error;
mod examine;
mod inspect;
mod native;
mod scaffold;
mod sign;

pub use build::{Built, build};
pub use error::AuthoringError;
pub use examine::{
    Broken, Examination, ExamineError, Examined, FUEL_TOLERANCE_PERCENT, Manner, Properties,
    add_case, cases_in,
};
pub use inspect::{Inspection, MadeOf, inspect};
pub use native::Native;
pub use scaffold::{Scaffold, ScaffoldError, Scaffolded, Sdk};
pub use sign::{KeyFiles, PASSWORD, SecretFile, key, sign};
pub use tidemill_component::Toolchain;
