//! What stands in a component, and what it says of itself.

use std::path::Path;

use serde::Serialize;
use tidemill_component::{Metadata, Outline};

use super::error::AuthoringError;
use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::printable;
use crate::registry::Descriptor;
use crate::sandbox::{Compiler, Limits, Sandbox};

/// The longest fact about what a module was made of; what is longer is none of ours, and is cut.
const FACT_BYTES: usize = 200;

/// What can be known of a module without running it on rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// The digest of component and parameters: its identity.
    pub digest: Digest,
    /// The numbers of the keys that say to have signed it; none before somebody looked for signatures.
    pub signed_by: Vec<String>,
    /// The size of the component.
    pub bytes: u64,
    /// How much of that is functions.
    pub code_bytes: u64,
    /// How much of that is constants.
    pub data_bytes: u64,
    /// The size of the parameters.
    pub parameters_bytes: u64,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// What it was made of, as it says.
    pub made_of: MadeOf,
    /// What it reads and makes.
    #[serde(flatten)]
    pub descriptor: Descriptor,
}

/// What a module was made of. Only what built it vouches for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeOf {
    /// Its sources: `sources-sha256:` and the digest of `Cargo.toml`, `build.rs` and `src`.
    pub revision: Option<String>,
    /// The version of the SDK.
    pub sdk: Option<String>,
    /// The version of rustc.
    pub rustc: Option<String>,
}

impl From<Metadata> for MadeOf {
    fn from(metadata: Metadata) -> Self {
        // Whoever made the component wrote this, and it goes to a terminal.
        let plain = |text: String| printable::line(&text, FACT_BYTES);
        Self {
            revision: metadata.revision.map(plain),
            sdk: metadata.sdk.map(plain),
            rustc: metadata.compiler.map(plain),
        }
    }
}

impl Inspection {
    /// Name, version and digest.
    pub fn module(&self) -> ModuleRef {
        ModuleRef {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest,
        }
    }
}

/// Looks into a component, which `compiler` compiles: reads its outline, and has it describe itself in a sandbox that
/// keeps compiled code in `cache`. Blocks its thread while it is compiled.
///
/// # Errors
/// `Module` when it is no component, or the sandbox refuses it.
pub fn inspect(
    component: &[u8],
    parameters: &[u8],
    cache: &Path,
    compiler: Compiler,
) -> crate::Result<Inspection> {
    let outline = Outline::read(component).map_err(AuthoringError::from)?;
    let sandbox = Sandbox::new(Limits::default(), cache)?.compiled_by(compiler);
    let module = sandbox.load(component, parameters)?;
    let description = module.description();
    Ok(Inspection {
        name: description.name.clone(),
        version: description.version.clone(),
        digest: module.digest(),
        signed_by: Vec::new(),
        bytes: component.len() as u64,
        code_bytes: outline.code_bytes,
        data_bytes: outline.data_bytes,
        parameters_bytes: parameters.len() as u64,
        imports: outline.imports,
        exports: outline.exports,
        made_of: outline.metadata.into(),
        descriptor: description.into(),
    })
}
