//! `module`: builds modules, looks into them, and looks after those of the project.

mod artefact;
mod build;
mod compile;
mod export;
mod import;
mod inspect;
mod key;
mod list;
mod new;
mod promote;
mod push;
mod shadow;
mod sign;
mod test;

use std::path::Path;

use clap::Subcommand;

use super::answer::Answer;
use super::invocation::Invocation;
use crate::authoring::{AuthoringError, Inspection, inspect};
use crate::registry::Minisig;

/// Look after the modules of the project.
#[derive(Debug, Subcommand)]
pub(super) enum Module {
    New(new::New),
    Build(build::Build),
    Test(Box<test::Test>),
    Inspect(inspect::Inspect),
    Compile(compile::Compile),
    Key(key::Key),
    Sign(sign::Sign),
    Push(push::Push),
    Export(export::Export),
    Import(import::Import),
    List(list::List),
    Shadow(shadow::Shadow),
    Promote(promote::Promote),
    Rollback(promote::Rollback),
}

impl Module {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        match self {
            Self::New(verb) => verb.answer(call).await,
            Self::Build(verb) => verb.answer(call).await,
            Self::Test(verb) => verb.answer(call).await,
            Self::Inspect(verb) => verb.answer(call).await,
            Self::Compile(verb) => verb.answer(call).await,
            Self::Key(verb) => verb.answer(call),
            Self::Sign(verb) => verb.answer(call).await,
            Self::Push(verb) => verb.answer(call).await,
            Self::Export(verb) => verb.answer(call).await,
            Self::Import(verb) => verb.answer(call).await,
            Self::List(verb) => verb.answer(call).await,
            Self::Shadow(verb) => verb.answer(call).await,
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

/// What a module says of itself; that it is signed is not looked at.
async fn described(
    call: &Invocation,
    component: Vec<u8>,
    parameters: Vec<u8>,
) -> crate::Result<Inspection> {
    let (cache, compiler) = (call.cache_folder(), call.compiler());
    let inspecting = move || inspect(&component, &parameters, &cache, compiler);
    let inspection = tokio::task::spawn_blocking(inspecting).await;
    inspection.map_err(AuthoringError::Lost)?
}

/// The signature in a file.
fn signature(file: &Path) -> Result<Minisig, AuthoringError> {
    let bytes = read(file)?;
    let text = std::str::from_utf8(&bytes).ok();
    let signature = text.and_then(Minisig::parse);
    signature.ok_or_else(|| AuthoringError::NoSignature {
        file: file.to_owned(),
    })
}

/// The parameters of a module; none where no file is named.
fn parameters(call: &Invocation, file: Option<&Path>) -> Result<Vec<u8>, AuthoringError> {
    match file {
        Some(file) => read(&call.folder().join(file)),
        None => Ok(Vec::new()),
    }
}
