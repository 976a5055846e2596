//! Modules as OCI artefacts, in a registry or in a folder, so that what carries container images carries modules.
//!
//! ```text
//! manifest   application/vnd.oci.image.manifest.v1+json
//!   config   application/vnd.wasm.config.v0+json       os wasip2, architecture wasm, imports, exports, layerDigests
//!   layer    application/wasm                          the component, and nothing beside it
//!   annotations
//!     org.opencontainers.image.title, …version         name and version
//!     tidemill.module.digest                           of component and parameters
//!     tidemill.module.parameters                       in base 64, where there are any
//!     tidemill.module.signature.<number of the key>    the text of minisign's file, one for each key
//! ```
//!
//! That is the Wasm OCI artefact layout of the CNCF's TAG Runtime, so that `wkg`, `oras` and `skopeo` carry it.
//!
//! Parameters and signatures are annotations. As further layers they were rejected: the layout has one layer, and the
//! clients of the Bytecode Alliance, `wkg` among them, refuse an artefact with two, or with a layer that is no
//! `application/wasm`. As artefacts of their own that name this one as their subject they were rejected, too: registries
//! that are in use answer 404 when asked for referrers, and a copy by tag leaves them behind. A module's parameters have
//! at most 1 MiB, so that a manifest stays far below the 4 MiB that registries take.
//!
//! The same module is the same manifest, whenever and wherever it is exported: the config's `created`, which the layout
//! wants, is the beginning of 1970. So a second export does nothing, and a digest of the manifest is as good a name as
//! the tag. A tag that names something else is left as it is, unless it is asked for; signatures alone may be added.
//! Registries cannot write a tag only where it has not changed, so of two exports to one tag at the same time the later
//! one stands.
//!
//! Nothing that comes back is believed: sizes are limited while it is read, digests are computed, and what it says to be
//! is compared with what its component says of itself. Whether it is used is for the pipeline's push to decide.
//!
//! The client is one of our own over reqwest: six requests and a login. `oci-client` 0.18 was rejected, for it reads
//! manifests, tokens and errors without a limit, panics over a token or a location that is none, knows no identity
//! tokens, hides why a login failed, and would have the Delta kernel built again for two features of reqwest.

mod artefact;
mod client;
mod credentials;
mod error;
mod failure;
mod folder;
mod login;
mod manifest;
mod reference;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

pub use artefact::{Artefact, Bounds};
pub use client::{Access, Repository, Way};
pub use error::OciError;
pub use folder::Folder;
pub use reference::Reference;

use crate::digest::Digest;
use crate::error::{Classify as _, ErrorKind};
use artefact::Packed;
use manifest::Descriptor;

/// Where artefacts are kept under tags: a repository of a registry, or a folder. Called by one task at a time, blobs
/// before the manifest that names them. Ok of a write means that it can be read; what is read is as long as was said
/// and has the digest that was said.
#[async_trait]
pub trait Store: Send + Sync {
    /// What is meant, for people.
    fn place(&self) -> String;

    /// The manifest that is meant; `None` where there is none.
    async fn manifest(&self) -> Result<Option<Bytes>, OciError>;

    /// The bytes of a blob that was said to exist.
    async fn blob(&self, blob: &Blob) -> Result<Bytes, OciError>;

    /// Puts a blob there, unless it is there.
    async fn put_blob(&self, bytes: &Bytes) -> Result<(), OciError>;

    /// Makes the tag mean this manifest, whose blobs are there.
    async fn put_manifest(&self, manifest: &Bytes) -> Result<(), OciError>;
}

/// A blob as a manifest names it, its size within limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    digest: Digest,
    bytes: u64,
}

/// What an export did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The tag is new.
    New,
    /// The tag meant this already.
    AlreadyThere,
    /// The tag meant this module with fewer signatures.
    SignaturesAdded,
    /// The tag meant something else, and was to be moved.
    Replaced,
}

/// What an export did, and the manifest that the tag means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// What was done.
    pub outcome: Outcome,
}

/// What an import found.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// What is in it.
    pub artefact: Artefact,
}

/// Puts an artefact into a store. With `overwrite` the tag may mean something else.
///
/// # Errors
/// `Config` when the tag means something else, nobody may write there or there is no such registry, `Unavailable` when
/// it does not answer.
pub async fn export(
    store: &dyn Store,
    artefact: &Artefact,
    overwrite: bool,
) -> Result<Exported, OciError> {
    let mut packed = Packed::of(artefact)?;
    let mut outcome = Outcome::New;
    let found = match store.manifest().await {
        // What is damaged can be replaced like anything else.
        Err(error) if overwrite && error.kind() == ErrorKind::Data => Some(Bytes::new()),
        found => found?,
    };
    if let Some(found) = found {
        if found == packed.manifest {
            return Ok(packed.exported(Outcome::AlreadyThere));
        }
        outcome = match packed.merged(&found) {
            Some(merged) if merged.manifest == found => {
                return Ok(merged.exported(Outcome::AlreadyThere));
            }
            Some(merged) => {
                packed = merged;
                Outcome::SignaturesAdded
            }
            None if overwrite => Outcome::Replaced,
            None => {
                return Err(OciError::Occupied {
                    place: store.place(),
                    found: Digest::of(&found),
                });
            }
        };
    }
    store.put_blob(&packed.component).await?;
    store.put_blob(&packed.config).await?;
    store.put_manifest(&packed.manifest).await?;
    Ok(packed.exported(outcome))
}

/// Gets an artefact out of a store. Its component is as long as `bounds` let it be, its digests are right, and it is
/// laid out as a Wasm artefact is; what it says to be is for the caller to compare.
///
/// # Errors
/// `Config` when there is none, it is no Wasm artefact, or nobody may read it; `Data` when it is damaged or too large;
/// `Unavailable` when the registry does not answer.
pub async fn import(store: &dyn Store, bounds: Bounds) -> Result<Imported, OciError> {
    let place = store.place();
    let found = store.manifest().await?;
    let found = found.ok_or_else(|| OciError::Missing {
        place: place.clone(),
    })?;
    let outline = artefact::Outline::read(&place, &found, bounds)?;
    let config = store.blob(outline.config()).await?;
    outline.check_config(&config)?;
    let component = store.blob(outline.component()).await?;
    Ok(Imported {
        manifest: Digest::of(&found),
        artefact: outline.filled(component),
    })
}

impl Blob {
    /// The blob that a descriptor names, unless it is longer than it may be.
    fn of(
        descriptor: &Descriptor,
        place: &str,
        what: &'static str,
        limit: u64,
    ) -> Result<Self, OciError> {
        let digest = descriptor.digest.strip_prefix("sha256:");
        let digest = digest.and_then(|digits| digits.parse().ok());
        let Some(digest) = digest else {
            return Err(OciError::malformed(
                place,
                format!("the digest of its {what} is none of sha256"),
            ));
        };
        if descriptor.size > limit {
            return Err(OciError::TooLarge {
                place: place.to_owned(),
                what,
                limit,
            });
        }
        Ok(Self {
            digest,
            bytes: descriptor.size,
        })
    }

    /// Its digest as registries write it.
    fn name(&self) -> String {
        manifest::name(&self.digest)
    }

    /// Sees to it that these are its bytes.
    fn check(&self, place: &str, bytes: &[u8]) -> Result<(), OciError> {
        let found = Digest::of(bytes);
        if found == self.digest && bytes.len() as u64 == self.bytes {
            return Ok(());
        }
        Err(OciError::Damaged {
            place: place.to_owned(),
            wanted: self.digest,
            found,
        })
    }
}

#[cfg(test)]
mod tests;
