//! A module that does what its parameters say, and nothing good.
//!
//! One component serves every case: a case is a script, its parameters, and what a script does not say is done
//! honestly. The script carries the bytes of every stream that is given, so that the lies about data are made by the
//! test, with whatever tools it has; what is made here is what only running code can do. The contract is used without
//! the SDK, which would not do most of it.
//!
//! There is nothing here but for WebAssembly.

#![cfg(target_arch = "wasm32")]

mod act;
mod bindings;
mod describe;
mod memory;
mod script;

use std::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::tidemill::transform::transform::{Guest, GuestSession, Session};
use bindings::tidemill::transform::types::{Context, Description, Failure, Step};
use script::{Phase, Script};

/// Calls of this instance.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// The module.
struct Hostile;

/// The exports of the component. The macro expands here, where the workspace's lints are on.
#[allow(unsafe_code)]
mod exported {
    use super::Hostile;

    crate::bindings::export!(Hostile with_types_in crate::bindings);
}

impl Guest for Hostile {
    type Session = HostileSession;

    fn describe(parameters: Vec<u8>) -> Result<Description, Failure> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let script = Script::read(&parameters);
        act::act(&script, Phase::Describe)?;
        Ok(describe::description(&script))
    }
}

/// A session that keeps everything it was given.
struct HostileSession {
    script: Script,
    kept: std::cell::RefCell<Vec<Vec<u8>>>,
}

impl HostileSession {
    fn act(&self, phase: Phase, chunk: Option<Vec<u8>>) -> Result<Step, Failure> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        self.kept.borrow_mut().extend(chunk);
        act::act(&self.script, phase)
    }
}

impl GuestSession for HostileSession {
    fn open(context: Context) -> Result<Session, Failure> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let script = Script::read(&context.parameters);
        act::act(&script, Phase::Open)?;
        Ok(Session::new(Self {
            script,
            kept: std::cell::RefCell::default(),
        }))
    }

    fn push(&self, _: u32, chunk: Vec<u8>) -> Result<Step, Failure> {
        self.act(Phase::Push, Some(chunk))
    }

    fn retract(&self, _: u32, chunk: Vec<u8>) -> Result<Step, Failure> {
        self.act(Phase::Retract, Some(chunk))
    }

    fn end_of_input(&self, _: u32) -> Result<Step, Failure> {
        self.act(Phase::End, None)
    }

    fn finish(&self) -> Result<Step, Failure> {
        self.act(Phase::Finish, None)
    }
}
