//! `module sign`: who publishes a module vouches for it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{described, parameters, read};
use crate::authoring::{AuthoringError, PASSWORD, sign};
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::contract::ModuleRef;

/// Sign a component, so that projects that trust the key can use it.
///
/// The signature goes to FILE.minisig, where `module push` finds it and `minisign -V` checks it. It is
/// for the name, version and parameters of this module. A password in the variable
/// MINISIGN_PASSWORD opens the key.
///
/// Example: tidemill module sign target/modules/dim-staff.wasm --key shop.key
#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// The file of the component.
    file: PathBuf,
    /// The file of the secret key, of `module key` or of minisign.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file of the component's parameters.
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Signed {
    module: ModuleRef,
    key_id: String,
    signature: PathBuf,
}

impl Sign {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let file = call.folder().join(&self.file);
        let component = read(&file)?;
        let parameters = parameters(call, self.parameters.as_deref())?;
        let inspection = described(call, component.clone(), parameters).await?;
        let module = inspection.module();
        let password = call.environment().get(PASSWORD);
        let key = call.folder().join(&self.key);
        let signature = sign(&module, &component, &key, password)?;
        let target = signature_of(&file);
        std::fs::write(&target, signature.text()).map_err(|cause| AuthoringError::Write {
            file: target.clone(),
            cause,
        })?;
        let signed = Signed {
            module,
            key_id: signature.key_id().to_owned(),
            signature: target,
        };
        let text = format!(
            "signed {} with key {}: {}\n",
            signed.module,
            signed.key_id,
            signed.signature.display()
        );
        Ok(Answer::new(text, &signed))
    }
}

/// Where the signature of a file is, as minisign has it.
pub(super) fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.to_owned().into_os_string();
    name.push(".minisig");
    name.into()
}
