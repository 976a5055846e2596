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
pub struct Module {
    inner: Arc<Inner>,
    words: Words,
}

/// Whether what a module says in its own words is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// As it is, made printable.
    Kept,
    /// Not at all: it reads what must not be shown.
    Withheld,
}

struct Inner {
    runtime: Arc<Runtime>,
    compiled: binding::ModulePre<Guest>,
    parameters: Vec<u8>,
    description: Description,
    reference: Arc<ModuleRef>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Module")
            .field(&self.inner.reference)
            .finish()
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
        let mut instance = Instance::start(
            &runtime,
            &compiled,
            identity.clone(),
            Words::Kept,
            Phase::Describe,
        )?;
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
        let inner = Inner {
            runtime,
            compiled,
            parameters: parameters.to_vec(),
            description,
            reference,
        };
        Ok(Self {
            inner: Arc::new(inner),
            words: Words::Kept,
        })
    }

    /// What it says of itself, checked.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Name, version and digest.
    pub fn reference(&self) -> &ModuleRef {
        &self.inner.reference
    }

    /// The digest of component and parameters.
    pub fn digest(&self) -> Digest {
        self.inner.reference.digest
    }

    /// The numbers of its inputs in the order in which a session takes them.
    pub fn input_order(&self) -> Vec<usize> {
        order::sequence(&self.inner.description)
    }

    /// The same module, whose words stay out of logs and errors: it reads values that must not be shown, and nobody knows
    /// which of them it says. The messages of its rejects are kept for quarantine.
    #[must_use]
    pub fn withholding_words(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            words: Words::Withheld,
        }
    }

    /// The bytes that it was given to describe itself, and is given in every session.
    pub fn parameters(&self) -> &[u8] {
        &self.inner.parameters
    }

    /// Begins a session.
    ///
    /// # Errors
    /// `Module` when it fails to start.
    pub fn open(&self, context: Context) -> Result<Session, SandboxError> {
        let context = types::Context {
            logical_time: context.logical_time_micros,
            seed: context.seed,
            parameters: self.inner.parameters.clone(),
        };
        Session::open(self, &context)
    }

    /// The same module, whose words are passed on: where stand-ins are in the place of what must not be shown.
    #[must_use]
    pub fn keeping_words(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            words: Words::Kept,
        }
    }

    pub(super) fn instance(&self, phase: Phase) -> Result<Instance, SandboxError> {
        let Inner {
            runtime, compiled, ..
        } = self.inner.as_ref();
        Instance::start(runtime, compiled, self.identity(), self.words, phase)
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::Named(self.inner.reference.clone())
    }

    /// What its sessions may use.
    pub fn limits(&self) -> &Limits {
        &self.inner.runtime.limits
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
