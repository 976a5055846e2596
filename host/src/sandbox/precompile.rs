//! Compiling ahead, for machines that may be of another kind: what comes with a program in a bundle.

use std::path::Path;
use std::sync::Arc;

use wasmtime::Engine;

use super::cache::Cache;
use super::compile::CompileError;
use super::error::{Identity, SandboxError};
use super::inspect::inspect;
use super::processor::Processor;
use super::{Sandbox, module_digest};
use crate::contract::ModuleRef;
use crate::digest::Digest;

/// Fills a folder with compiled code. Nothing of a module runs.
#[derive(Debug)]
pub struct Precompiler<'s> {
    sandbox: &'s Sandbox,
    processor: Processor,
    engine: Engine,
    cache: Cache,
    folder: &'s Path,
}

impl Sandbox {
    /// What compiles into `folder` for machines of one kind, this one's or another: what [`bundled`](Self::bundled) finds
    /// there on such a machine.
    ///
    /// # Errors
    /// `Config` when this program does not compile for them, or the folder is not this user's alone.
    pub fn precompiler<'s>(
        &'s self,
        processor: Processor,
        folder: &'s Path,
    ) -> Result<Precompiler<'s>, SandboxError> {
        let engine = processor.engine()?;
        Ok(Precompiler {
            sandbox: self,
            processor,
            cache: Cache::open(folder, &engine)?,
            engine,
            folder,
        })
    }
}

impl Precompiler<'_> {
    /// Compiles a module that is known by name, unless its component is compiled already.
    ///
    /// # Errors
    /// `Module` when it is refused, `Unavailable` when the compiler does not run or what it made cannot be written.
    pub fn compile(
        &self,
        component: &[u8],
        parameters: &[u8],
        known: &ModuleRef,
    ) -> Result<(), SandboxError> {
        let identity = Identity::Named(Arc::new(ModuleRef {
            digest: module_digest(component, parameters),
            ..known.clone()
        }));
        let refused = |reason| SandboxError::Refused {
            module: identity.clone(),
            reason,
        };
        let limits = &self.sandbox.runtime.limits;
        inspect(component, parameters, limits).map_err(refused)?;
        let digest = Digest::of(component);
        if self.cache.has(digest) {
            return Ok(());
        }
        let place = self.sandbox.places.take();
        let compiler = &self.sandbox.compiler;
        let compiled = compiler.compile(&self.engine, Some(self.processor), component, limits);
        drop(place);
        let code = compiled.map_err(|error| match error {
            CompileError::Refused(reason) => refused(reason),
            CompileError::Unavailable(cause) => SandboxError::Compiler {
                module: identity.clone(),
                cause,
            },
        })?;
        let kept = self.cache.keep(digest, &code);
        kept.map_err(|cause| SandboxError::Unwritten {
            path: self.folder.display().to_string(),
            cause,
        })
    }
}
