//! Makes a component of a module's crate, and reads what stands in one.
//!
//! Two programs need this: `cargo x guests`, which must not wait for the host to be compiled, and `tidemill module`.
//! Cargo builds a crate for WebAssembly (`build`), `wit-component` makes a component of it in this process, which is
//! checked and told what it was made of (`outline`). The same source gives the same bytes on every machine and in
//! every folder, for a module's digest stands for its code. Nothing here runs a module.

mod build;
mod error;
mod outline;
mod toolchain;
mod workspace;

pub use build::{Built, build};
pub use error::BuildError;
pub use outline::{Metadata, Outline, OutlineError};
pub use toolchain::{TARGET, Toolchain, cargo};
pub use workspace::{Package, Workspace};
