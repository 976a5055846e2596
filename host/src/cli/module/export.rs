//! `module export`: a module out of the project, into an OCI registry or a folder.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::artefact::Place;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::Paint;
use crate::contract::ModuleRef;
use crate::oci::{self, Access, Artefact, Exported, Outcome};

/// Put a module of the project into an OCI registry, or into a folder that any OCI tool reads.
///
/// It becomes a Wasm artefact as the CNCF lays it out, with its parameters and signatures, and is the
/// same to the byte at every export. A tag that means something else is left alone, unless --overwrite is given.
/// Who you are is what `docker login`, `podman login` or `oras login` kept.
///
/// Example: tidemill module export dim-staff@1.0.0 oci://registry.example.org/shop/dim-staff
#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// The module.
    #[arg(value_name = "NAME@VERSION")]
    module: String,
    /// The registry and repository, or the folder. The tag is the version, in a folder NAME-VERSION.
    #[arg(value_name = "oci://HOST/REPOSITORY[:TAG]|FOLDER")]
    to: String,
    /// Another tag in a folder.
    #[arg(long)]
    tag: Option<String>,
    /// Have the tag mean this module, although it means something else.
    #[arg(long)]
    overwrite: bool,
    /// Go without TLS to a registry that is not on this machine.
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    module: ModuleRef,
    to: String,
    #[serde(flatten)]
    exported: Exported,
    signed_by: Vec<String>,
}

impl Export {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let pipeline = call.pipeline().await?;
        let stored = pipeline.module(&self.module).await?;
        let module = stored.module();
        let signatures = pipeline.signatures(&module).await?;
        let texts = signatures.iter();
        let artefact = Artefact {
            said: Some(module.clone()),
            component: stored.component,
            parameters: stored.parameters,
            signatures: texts
                .map(|one| (one.key_id().to_owned(), one.text().to_owned()))
                .collect(),
        };
        let place = Place {
            text: &self.to,
            tag: self.tag.as_deref(),
            plain_http: self.plain_http,
            access: Access::Write,
        };
        let store = place.open(call, Some(&module)).await?;
        let exported = oci::export(store.as_ref(), &artefact, self.overwrite).await?;
        let report = Report {
            module,
            to: store.place(),
            exported,
            signed_by: artefact.signatures.into_keys().collect(),
        };
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

fn told(report: &Report, paint: Paint) -> String {
    let Report { module, to, .. } = report;
    let mut text = match report.exported.outcome {
        Outcome::New => format!("{} {module} to {to}\n", paint.good("exported")),
        Outcome::Replaced => {
            format!(
                "{} {module} to {to}, in place of something else\n",
                paint.good("exported")
            )
        }
        Outcome::SignaturesAdded => {
            format!("{module} was {to} already; its signatures were added\n")
        }
        Outcome::AlreadyThere => format!("{module} is {to} already\n"),
    };
    let signers = match report.signed_by.as_slice() {
        [] => "nobody".to_owned(),
        keys => format!("key {}", keys.join(", ")),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  signed by  {signers}");
    let _ = writeln!(text, "  manifest   sha256:{}", report.exported.manifest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn what_was_done_is_told_with_the_name_by_which_it_can_be_pinned() {
        let module = ModuleRef {
            name: "dim-staff".into(),
            version: "1.0.0".into(),
            digest: Digest::of("dim-staff"),
        };
        let manifest = Digest::of("manifest");
        let short = module.digest.short();
        let mut report = Report {
            module,
            to: "oci://host/dim-staff:1.0.0".into(),
            exported: Exported {
                manifest,
                outcome: Outcome::New,
            },
            signed_by: vec!["E7620F1842B4E81F".into()],
        };
        assert_eq!(
            told(&report, Paint::new(false)),
            format!(
                "exported dim-staff@1.0.0 ({short}) to oci://host/dim-staff:1.0.0\n  \
                 signed by  key E7620F1842B4E81F\n  \
                 manifest   sha256:{manifest}\n"
            )
        );
        report.exported.outcome = Outcome::AlreadyThere;
        report.signed_by.clear();
        assert_eq!(
            told(&report, Paint::new(false)),
            format!(
                "dim-staff@1.0.0 ({short}) is oci://host/dim-staff:1.0.0 already\n  \
                 signed by  nobody\n  \
                 manifest   sha256:{manifest}\n"
            )
        );
    }
}
