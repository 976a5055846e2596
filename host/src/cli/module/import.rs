//! `module import`: a module out of an OCI registry or a folder, into the project.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::artefact::Place;
use super::push;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::digest::Digest;
use crate::oci::{self, Access, Bounds, OciError};
use crate::pipeline::publish::{Push, PushReport};
use crate::registry::Minisig;
use crate::sandbox::Limits;

/// Put a module into the registry of the project that is in an OCI registry, or in a folder.
///
/// It is pushed as by `module push`: a key that the project file trusts must have signed it, a version never
/// changes, what it makes and reads is compared with what is there, and with what the project file grants. What it
/// says to be, its digests and its signatures are checked; nothing uses it before it is promoted.
/// Who you are is what `docker login`, `podman login` or `oras login` kept.
///
/// Example: tidemill module import oci://registry.example.org/shop/dim-staff:1.0.0
#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// The artefact in a registry, or the folder.
    #[arg(value_name = "oci://HOST/REPOSITORY:TAG|@sha256:…|FOLDER")]
    from: String,
    /// Which artefact of a folder that holds several.
    #[arg(long)]
    tag: Option<String>,
    /// Go without TLS to a registry that is not on this machine.
    #[arg(long)]
    plain_http: bool,
    /// Push it although the warehouse's table cannot simply follow.
    #[arg(long)]
    breaking: bool,
    /// Push it although what it reads has not been landed like that.
    #[arg(long)]
    unlanded: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    from: String,
    manifest: Digest,
    #[serde(flatten)]
    push: PushReport,
}

impl Import {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        // The project first: without one nothing is fetched.
        let pipeline = call.pipeline().await?;
        let place = Place {
            text: &self.from,
            tag: self.tag.as_deref(),
            plain_http: self.plain_http,
            access: Access::Read,
        };
        let store = place.open(call, None).await?;
        let limits = Limits::default();
        let bounds = Bounds {
            component_bytes: limits.component_bytes as u64,
            parameters_bytes: limits.parameters_bytes as u64,
        };
        let imported = oci::import(store.as_ref(), bounds).await?;
        let artefact = imported.artefact;
        let push = Push {
            component: artefact.component,
            parameters: artefact.parameters,
            signatures: signatures(&store.place(), &artefact.signatures)?,
            said: artefact.said,
            breaking: self.breaking,
            unlanded: self.unlanded,
        };
        let report = Report {
            push: pipeline.push(push).await?,
            from: store.place(),
            manifest: imported.manifest,
        };
        let told = push::told_as("imported", &report.push, call.paint());
        Ok(Answer::new(told, &report))
    }
}

/// The signatures in texts, each of the key by which it is named.
fn signatures(place: &str, texts: &BTreeMap<String, String>) -> Result<Vec<Minisig>, OciError> {
    let signatures = texts.iter().map(|(key_id, text)| {
        let signature = Minisig::parse(text).filter(|one| one.key_id() == key_id);
        signature.ok_or_else(|| OciError::NoSignature {
            place: place.to_owned(),
            key_id: key_id.clone(),
        })
    });
    signatures.collect()
}
