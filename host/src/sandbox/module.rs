//! A module: compiled, described and checked, ready to be run any number of times.

use std::sync::Arc;

use super::Runtime;
use super::binding::{self, types};
use super::describe;
use super::error::{Breach, Identity, Phase, SandboxError};
use super::guest::{Guest, Instance};
use super::limits::Limits;
use super::order;
use super::session::Session;
use crate::contract::{Description, ModuleRef};
use crate::digest::Digest;

/// Everything that a session may depend on besides its inputs and the parameters of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The source's clock when the landing was taken: microseconds since 1970-01-01T00:00:00Z.
    pub logical_time_micros: i64,
    /// The same for every replay of the same landing.
    pub seed: u64,
}

/// A module that has described itself. Cheap to clone; every session has an instance of its own.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    runtime: Arc<Runtime>,
    compiled: binding::ModulePre<Guest>,
    parameters: Vec<u8>,
    description: Description,
    reference: Arc<ModuleRef>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Module").field(&self.0.reference).finish()
    }
}

impl Module {
    /// Asks a compiled component for its description and checks it.
    pub(super) fn describe(
        runtime: Arc<Runtime>,
        compiled: binding::ModulePre<Guest>,
        parameters: &[u8],
        digest: Digest,
        identity: Identity,
    ) -> Result<Self, SandboxError> {
        let mut instance = Instance::start(&runtime, &compiled, identity.clone(), Phase::Describe)?;
        let said = instance.call(Phase::Describe, |exports, store| {
            exports.call_describe(store, parameters)
        })?;
        let description = describe::check(said)
            .and_then(|description| identity.agrees(description))
            .map_err(|reason| instance.stopped(Phase::Describe, Breach::Description(reason)))?;
        let reference = Arc::new(ModuleRef {
            name: description.name.clone(),
            version: description.version.clone(),
            digest,
        });
        Ok(Self(Arc::new(Inner {
            runtime,
            compiled,
            parameters: parameters.to_vec(),
            description,
            reference,
        })))
    }

    /// What it says of itself, checked.
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// Name, version and digest.
    pub fn reference(&self) -> &ModuleRef {
        &self.0.reference
    }

    /// The digest of component and parameters.
    pub fn digest(&self) -> Digest {
        self.0.reference.digest
    }

    /// The numbers of its inputs in the order in which a session takes them.
    pub fn input_order(&self) -> Vec<usize> {
        order::sequence(&self.0.description)
    }

    /// Begins a session.
    ///
    /// # Errors
    /// `Module` when it fails to start.
    pub fn open(&self, context: Context) -> Result<Session, SandboxError> {
        let context = types::Context {
            logical_time: context.logical_time_micros,
            seed: context.seed,
            parameters: self.0.parameters.clone(),
        };
        Session::open(self, &context)
    }

    pub(super) fn instance(&self, phase: Phase) -> Result<Instance, SandboxError> {
        Instance::start(&self.0.runtime, &self.0.compiled, self.identity(), phase)
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::Named(self.0.reference.clone())
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.runtime.limits
    }

    pub(super) fn misuse(&self, reason: String) -> SandboxError {
        SandboxError::Misuse {
            module: self.identity(),
            reason,
        }
    }

    /// The error of a call after the session's end.
    pub(super) fn over(&self) -> SandboxError {
        self.misuse("its session ended with an error before".into())
    }
}
