//! A crate as a component in a file.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tidemill_component::{Toolchain, Workspace};

use super::error::AuthoringError;
use super::inspect::MadeOf;
use crate::digest::Digest;
use crate::sandbox::module_digest;

/// A module that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The name of its crate.
    pub name: String,
    /// The version of its crate.
    pub version: String,
    /// Its digest, without parameters: the same for every build of the same source.
    pub digest: Digest,
    /// The component.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it was made of.
    pub made_of: MadeOf,
}

/// Builds the module whose crate is in `folder`. The component goes to `file`, or to `modules/` in the crate's target
/// folder. What cargo says goes to stderr. Blocks its thread until cargo is done.
///
/// # Errors
/// `Config` when there is no such crate, or Rust or its target is missing; `Module` when it does not compile or is no
/// module; `Unavailable` when the file cannot be written.
pub fn build(
    toolchain: &Toolchain,
    folder: &Path,
    file: Option<PathBuf>,
) -> Result<Built, AuthoringError> {
    let workspace = Workspace::read(toolchain, folder)?;
    let package = workspace.module_in(folder)?.clone();
    let file = file.unwrap_or_else(|| {
        let name = format!("{}.wasm", package.name);
        workspace.target().join("modules").join(name)
    });
    let mut built = tidemill_component::build(toolchain, &workspace, &[package])?;
    let Some(built) = built.pop() else {
        let nothing = "it built nothing".to_owned();
        return Err(tidemill_component::BuildError::Unknown(nothing).into());
    };
    write(&file, &built.component).map_err(|cause| AuthoringError::Write {
        file: file.clone(),
        cause,
    })?;
    Ok(Built {
        name: built.package.name,
        version: built.package.version,
        digest: module_digest(&built.component, &[]),
        bytes: built.component.len() as u64,
        made_of: built.metadata.into(),
        file,
    })
}

fn write(file: &Path, component: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, component)
}
