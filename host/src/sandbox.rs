//! The sandbox: modules run here, and nothing of the host is within their reach.
//!
//! This room knows WebAssembly and Arrow, and no table, store or SQL. Bytes become a [`Module`] that has
//! described itself; a [`Session`] is one run of it, on an instance that is made for the run and thrown
//! away after it. Instances are not reused, however cheap it would be: what one run leaves behind in
//! memory would be an input of the next, and no replay could find it.
//!
//! A guest is hostile until proven otherwise. Before it is compiled: size, parts, imports and contract
//! (`inspect`). While it is compiled: time and memory of another process (`compile`). While it runs: fuel, time, memory, bytes and log lines (`guest`, `engine`). Of what it
//! gives: the description (`describe`), the streams (`decode`), values and NOT NULL (`values`), keys
//! (`keys`), rejects and counts (`session`). Whatever it does, the host gets a [`SandboxError`] that names
//! module, version, digest and phase.

mod binding;
mod cache;
mod compile;
mod decode;
mod describe;
mod encode;
mod engine;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod guest;
mod inspect;
mod keys;
mod limits;
mod module;
mod order;
mod precompile;
mod processor;
mod session;
mod text;
mod values;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Component;

use compile::CompileError;

use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::printable;

pub use cache::CacheCounts;
pub use compile::Compiler;
pub(crate) use compile::serve;
pub(crate) use decode::hush_decoders;
pub use error::{Breach, Identity, Phase, Refusal, SandboxError, Stream};
pub use guest::Usage;
pub use limits::{Limits, MAX_CHUNK_BYTES, MAX_CHUNK_ROWS};
pub use module::{Context, Module};
pub use precompile::Precompiler;
pub use processor::Processor;
pub use session::{Reject, Session, Step};

/// The version of the contract that this host speaks.
pub const CONTRACT: &str = "1.0.0";
/// The only import that a module may have.
const LOG: &str = "tidemill:transform/log@1.0.0";
/// The export that makes a component a module.
const TRANSFORM: &str = "tidemill:transform/transform@1.0.0";

/// How much of a compiler's message goes into an error.
const REASON_BYTES: usize = 500;

/// The engine, its clock, its limits and its compiled code. Shared by every thread that runs modules.
#[derive(Debug)]
pub struct Sandbox {
    runtime: Arc<Runtime>,
    cache: cache::Cache,
    compiler: Compiler,
    places: compile::Places,
}

/// What every session of a sandbox shares.
#[derive(Debug)]
struct Runtime {
    engine: Engine,
    ticker: Arc<engine::Ticker>,
    limits: Arc<Limits>,
}

impl Sandbox {
    /// Sets up the engine; compiled code is kept in the folder `cache`, and made in this process.
    ///
    /// # Errors
    /// `Config` when the folder is not this user's alone, `Unavailable` when the machine cannot run
    /// compiled code.
    pub fn new(limits: Limits, cache: &Path) -> Result<Self, SandboxError> {
        let engine = Engine::new(&engine::config()?).map_err(|e| SandboxError::Engine(e.into()))?;
        Ok(Self {
            cache: cache::Cache::open(cache, &engine)?,
            runtime: Arc::new(Runtime {
                ticker: Arc::new(engine::Ticker::start(&engine)?),
                limits: Arc::new(limits),
                engine,
            }),
            compiler: Compiler::InProcess,
            places: compile::Places::default(),
        })
    }

    /// The same sandbox with another compiler.
    #[must_use]
    pub fn compiled_by(self, compiler: Compiler) -> Self {
        Self { compiler, ..self }
    }

    /// The same sandbox, which also uses compiled code that came with the program in this folder, if that is there.
    #[must_use]
    pub fn bundled(self, folder: &Path) -> Self {
        Self {
            cache: self.cache.bundled(folder),
            ..self
        }
    }

    /// The same sandbox, whose folder of compiled code does not grow beyond this size.
    #[must_use]
    pub fn keeping_at_most(self, bytes: u64) -> Self {
        Self {
            cache: self.cache.of_at_most(bytes),
            ..self
        }
    }

    /// Makes a module of a component and its parameters: checked, compiled or found compiled, described.
    ///
    /// # Errors
    /// `Module`: refused, or stopped while it described itself.
    pub fn load(&self, component: &[u8], parameters: &[u8]) -> Result<Module, SandboxError> {
        let digest = module_digest(component, parameters);
        self.load_as(component, parameters, digest, Identity::Unnamed(digest))
    }

    /// As [`load`](Self::load), of a module that is known by name: errors say it, and the module has to agree.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_known(
        &self,
        component: &[u8],
        parameters: &[u8],
        known: &ModuleRef,
    ) -> Result<Module, SandboxError> {
        let digest = module_digest(component, parameters);
        let known = Arc::new(ModuleRef {
            digest,
            ..known.clone()
        });
        self.load_as(component, parameters, digest, Identity::Named(known))
    }

    fn load_as(
        &self,
        component: &[u8],
        parameters: &[u8],
        digest: Digest,
        identity: Identity,
    ) -> Result<Module, SandboxError> {
        let refused = |reason| SandboxError::Refused {
            module: identity.clone(),
            reason,
        };
        let runtime = &self.runtime;
        inspect::inspect(component, parameters, &runtime.limits).map_err(refused)?;
        let compiled = self.compile(component).map_err(|error| match error {
            CompileError::Refused(reason) => refused(reason),
            CompileError::Unavailable(cause) => SandboxError::Compiler {
                module: identity.clone(),
                cause,
            },
        })?;
        let linked = guest::linker(&runtime.engine)
            .map_err(|e| SandboxError::Engine(e.into()))?
            .instantiate_pre(&compiled)
            .and_then(binding::ModulePre::new)
            .map_err(|e| refused(Refusal::Interface(reason(&e))))?;
        Module::describe(runtime.clone(), linked, parameters, digest, identity)
    }

    /// How often compiled code was found in the cache or had to be made.
    pub fn cache_counts(&self) -> CacheCounts {
        self.cache.counts()
    }

    /// Compiles, or finds compiled. The bytes are hostile, so a defect of the compiler is theirs.
    fn compile(&self, component: &[u8]) -> Result<Component, CompileError> {
        let digest = Digest::of(component);
        let Runtime { engine, limits, .. } = self.runtime.as_ref();
        let compile = || {
            let _place = self.places.take();
            self.compiler.compile(engine, None, component, limits)
        };
        let gave_up = || Refusal::Invalid("the compiler gave up on it".into());
        catch_unwind(AssertUnwindSafe(|| {
            self.cache.component(engine, digest, compile)
        }))
        .map_err(|_| CompileError::Refused(gave_up()))?
    }
}

/// The identity of a module: the digest of component and parameters.
pub fn module_digest(component: &[u8], parameters: &[u8]) -> Digest {
    Digest::of_parts([component, parameters])
}

/// The whole story of an engine's error in one line.
fn reason(error: &wasmtime::Error) -> String {
    let story: Vec<String> = error.chain().map(ToString::to_string).collect();
    printable::line(&story.join(": "), REASON_BYTES)
}
