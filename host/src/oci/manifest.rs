//! The documents of an artefact as they are written: image manifest, Wasm config, image index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The type of a manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The type of a list of manifests.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The same two as Docker has them: what a registry may give instead, so that it can be said what it is.
pub(super) const DOCKER: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// The type of the config of a Wasm artefact.
pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The type of its layer.
pub(super) const LAYER: &str = "application/wasm";
/// The largest manifest: registries take no larger one.
pub(super) const MANIFEST_BYTES: u64 = 4 << 20;

/// The name of a module, and of the file that a layer becomes.
pub(super) const TITLE: &str = "org.opencontainers.image.title";
/// The version of a module.
pub(super) const VERSION: &str = "org.opencontainers.image.version";
/// The tag of a manifest in a folder.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Text by key.
pub(super) type Annotations = BTreeMap<String, String>;

/// An image manifest, or whatever stands where one should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    pub(super) schema_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: Annotations,
    /// Only lists have it.
    #[serde(skip_serializing)]
    pub(super) manifests: Option<serde::de::IgnoredAny>,
}

/// A list of manifests: `index.json` of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) manifests: Vec<Descriptor>,
    /// What others wrote there stays.
    #[serde(flatten)]
    pub(super) others: serde_json::Map<String, serde_json::Value>,
}

/// What names a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: Annotations,
    /// What others wrote there stays.
    #[serde(flatten)]
    pub(super) others: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    /// What names these bytes.
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: name(&Digest::of(bytes)),
            size: bytes.len() as u64,
            ..Self::default()
        }
    }

    /// The same with an annotation.
    pub(super) fn annotated(mut self, key: &str, value: String) -> Self {
        self.annotations.insert(key.to_owned(), value);
        self
    }
}

/// The config of a Wasm artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    /// A time in the notation of RFC 3339.
    pub(super) created: String,
    pub(super) architecture: String,
    pub(super) os: String,
    pub(super) layer_digests: Vec<String>,
    #[serde(default)]
    pub(super) component: Option<Component>,
}

/// What a component is to other tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Component {
    #[serde(default)]
    pub(super) exports: Vec<String>,
    #[serde(default)]
    pub(super) imports: Vec<String>,
    #[serde(default)]
    pub(super) target: Option<String>,
}

/// A digest as registries write it.
pub(super) fn name(digest: &Digest) -> String {
    format!("sha256:{digest}")
}
