//! `module`: builds modules, looks into them, and looks after those of the project.

mod build;
mod inspect;
mod list;
mod promote;
mod push;

use std::path::Path;

use clap::Subcommand;

use super::answer::Answer;
use super::invocation::Invocation;
use crate::authoring::AuthoringError;

/// Look after the modules of the project.
#[derive(Debug, Subcommand)]
pub(super) enum Module {
    Build(build::Build),
    Inspect(inspect::Inspect),
    Push(push::Push),
    List(list::List),
    Promote(promote::Promote),
    Rollback(promote::Rollback),
}

impl Module {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        match self {
            Self::Build(verb) => verb.answer(call).await,
            Self::Inspect(verb) => verb.answer(call).await,
            Self::Push(verb) => verb.answer(call).await,
            Self::List(verb) => verb.answer(call).await,
            Self::Promote(verb) => verb.answer(call).await,
            Self::Rollback(verb) => verb.answer(call).await,
        }
    }
}

/// The bytes of a file that was named.
fn read(file: &Path) -> Result<Vec<u8>, AuthoringError> {
    std::fs::read(file).map_err(|cause| AuthoringError::Read {
        file: file.to_owned(),
        cause,
    })
}

/// The parameters of a module; none where no file is named.
fn parameters(call: &Invocation, file: Option<&Path>) -> Result<Vec<u8>, AuthoringError> {
    match file {
        Some(file) => read(&call.folder().join(file)),
        None => Ok(Vec::new()),
    }
}
