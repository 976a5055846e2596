//! A module as the documents of an artefact, and back. Does no I/O.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tidemill_component::Outline as Component;

use super::error::OciError;
use super::manifest::{
    self, Annotations, CONFIG, Config, Descriptor, INDEX, LAYER, MANIFEST, MANIFEST_BYTES,
    Manifest, TITLE, VERSION,
};
use super::{Blob, Exported, Outcome};
use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::printable;

/// What the annotations of ours begin with.
const OURS: &str = "tidemill.module.";
const DIGEST: &str = "tidemill.module.digest";
const PARAMETERS: &str = "tidemill.module.parameters";
const SIGNATURE: &str = "tidemill.module.signature.";
/// When every artefact was made: the same module is the same artefact.
const CREATED: &str = "1970-01-01T00:00:00Z";
const ARCHITECTURE: &str = "wasm";
const OS: &str = "wasip2";
/// The world that a module is made for.
const WORLD: &str = "tidemill:transform/module@1.0.0";
/// The largest config: a list of names.
const CONFIG_BYTES: u64 = 1 << 20;
/// The longest text of others that is repeated.
const SHOWN_BYTES: usize = 100;

/// A module outside of a registry of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// What it says to be; `None` where another tool made it, which knows no modules.
    pub said: Option<ModuleRef>,
    /// The component.
    pub component: Bytes,
    /// Its parameters; empty when it has none.
    pub parameters: Bytes,
    /// The texts of its signatures, by the number of the key.
    pub signatures: BTreeMap<String, String>,
}

/// How large a module may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The component.
    pub component_bytes: u64,
    /// The parameters.
    pub parameters_bytes: u64,
}

/// An artefact as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) component: Bytes,
    pub(super) config: Bytes,
    pub(super) manifest: Bytes,
    document: Manifest,
}

impl Packed {
    /// The documents of an artefact.
    ///
    /// # Errors
    /// `Module` when the component is none, `Config` when the manifest becomes larger than registries take.
    pub(super) fn of(artefact: &Artefact) -> Result<Self, OciError> {
        let component = Component::read(&artefact.component)?;
        let layer = Descriptor::of(LAYER, &artefact.component);
        let config = Config {
            created: CREATED.to_owned(),
            architecture: ARCHITECTURE.to_owned(),
            os: OS.to_owned(),
            layer_digests: vec![layer.digest.clone()],
            component: Some(manifest::Component {
                exports: component.exports,
                imports: component.imports,
                target: Some(WORLD.to_owned()),
            }),
        };
        let config = Bytes::from(print(&config));
        let name = artefact.said.as_ref().map(|said| said.name.as_str());
        let file = format!("{}.wasm", name.unwrap_or("component"));
        let document = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: Descriptor::of(CONFIG, &config),
            // The name of the file that `oras pull` makes.
            layers: vec![layer.annotated(TITLE, file)],
            annotations: annotations(artefact),
            manifests: None,
        };
        Self {
            component: artefact.component.clone(),
            config,
            manifest: Bytes::new(),
            document,
        }
        .printed()
    }

    /// The same with the signatures of the manifest that is `found` beside its own; `None` when that is of something
    /// else than this module.
    pub(super) fn merged(&self, found: &[u8]) -> Option<Self> {
        let mut theirs: Manifest = serde_json::from_slice(found).ok()?;
        let signatures = take_signatures(&mut theirs.annotations);
        let mut ours = self.document.clone();
        let own = take_signatures(&mut ours.annotations);
        if ours != theirs {
            return None;
        }
        ours.annotations.extend(signatures);
        ours.annotations.extend(own);
        let merged = Self {
            document: ours,
            ..self.clone()
        };
        merged.printed().ok()
    }

    /// What was done with it.
    pub(super) fn exported(&self, outcome: Outcome) -> Exported {
        Exported {
            manifest: Digest::of(&self.manifest),
            outcome,
        }
    }

    fn printed(mut self) -> Result<Self, OciError> {
        self.manifest = print(&self.document).into();
        match self.manifest.len() as u64 > MANIFEST_BYTES {
            true => Err(OciError::TooMuch {
                limit: MANIFEST_BYTES,
            }),
            false => Ok(self),
        }
    }
}

fn annotations(artefact: &Artefact) -> Annotations {
    let mut annotations = Annotations::new();
    let mut note = |key: &str, value: String| annotations.insert(key.to_owned(), value);
    if let Some(said) = &artefact.said {
        note(TITLE, said.name.clone());
        note(VERSION, said.version.clone());
        note(DIGEST, manifest::name(&said.digest));
    }
    if !artefact.parameters.is_empty() {
        note(PARAMETERS, STANDARD.encode(&artefact.parameters));
    }
    for (key, text) in &artefact.signatures {
        note(&format!("{SIGNATURE}{key}"), text.clone());
    }
    annotations
}

/// Takes the signatures away from annotations.
fn take_signatures(annotations: &mut Annotations) -> Annotations {
    annotations
        .extract_if(.., |key, _| key.starts_with(SIGNATURE))
        .collect()
}

fn print(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have text keys and nothing that cannot be JSON")
}

/// What a manifest says, before its blobs are asked for.
#[derive(Debug)]
pub(super) struct Outline {
    place: String,
    config: Blob,
    component: Blob,
    artefact: Artefact,
}

impl Outline {
    /// Reads a manifest of others.
    ///
    /// # Errors
    /// `Config` when it is of no Wasm artefact, `Data` when it is damaged or what it names is too large.
    pub(super) fn read(place: &str, bytes: &[u8], bounds: Bounds) -> Result<Self, OciError> {
        let document: Manifest = serde_json::from_slice(bytes)
            .map_err(|e| OciError::malformed(place, format!("its manifest is unreadable: {e}")))?;
        let layer = wasm(&document, place)?;
        Ok(Self {
            config: Blob::of(&document.config, place, "config", CONFIG_BYTES)?,
            component: Blob::of(layer, place, "component", bounds.component_bytes)?,
            artefact: Artefact {
                said: said(&document.annotations, place)?,
                component: Bytes::new(),
                parameters: parameters(&document.annotations, place, bounds.parameters_bytes)?,
                signatures: signatures(&document.annotations),
            },
            place: place.to_owned(),
        })
    }

    pub(super) fn config(&self) -> &Blob {
        &self.config
    }

    pub(super) fn component(&self) -> &Blob {
        &self.component
    }

    /// Sees to it that a config is that of this artefact, and of a component.
    ///
    /// # Errors
    /// `Config` when it is of no component, `Data` when it is of another artefact.
    pub(super) fn check_config(&self, config: &[u8]) -> Result<(), OciError> {
        let config: Config = serde_json::from_slice(config).map_err(|e| {
            OciError::malformed(&self.place, format!("its config is unreadable: {e}"))
        })?;
        if config.architecture != ARCHITECTURE || config.os != OS {
            return Err(OciError::NotWasm {
                place: self.place.clone(),
                is: format!(
                    "made for {} and {}, not for {OS} and {ARCHITECTURE}",
                    shown(&config.os),
                    shown(&config.architecture)
                ),
            });
        }
        match config.layer_digests == [self.component.name()] {
            true => Ok(()),
            false => Err(OciError::malformed(
                &self.place,
                "its config is of other layers".into(),
            )),
        }
    }

    /// The artefact with its component.
    pub(super) fn filled(self, component: Bytes) -> Artefact {
        Artefact {
            component,
            ..self.artefact
        }
    }
}

/// The one layer of a Wasm artefact.
fn wasm<'m>(document: &'m Manifest, place: &str) -> Result<&'m Descriptor, OciError> {
    let not = |is: String| OciError::NotWasm {
        place: place.to_owned(),
        is,
    };
    let is_list = document.manifests.is_some() || document.media_type.as_deref() == Some(INDEX);
    if is_list {
        return Err(not("a list of several manifests".into()));
    }
    let config = document.config.media_type.as_str();
    if config != CONFIG {
        return Err(not(match config.contains("image") {
            true => format!("a container image (its config is {})", shown(config)),
            false => format!("something else (its config is {})", shown(config)),
        }));
    }
    if document.schema_version != 2 {
        let version = document.schema_version;
        return Err(OciError::malformed(
            place,
            format!("its manifest is of version {version} and not 2"),
        ));
    }
    match document.layers.as_slice() {
        [layer] if layer.media_type == LAYER => Ok(layer),
        [layer] => Err(not(format!(
            "something else (its layer is {})",
            shown(&layer.media_type)
        ))),
        layers => Err(OciError::Layers {
            place: place.to_owned(),
            count: layers.len(),
        }),
    }
}

/// What an artefact says to be; `None` where nothing of ours stands in it.
fn said(annotations: &Annotations, place: &str) -> Result<Option<ModuleRef>, OciError> {
    if !annotations.keys().any(|key| key.starts_with(OURS)) {
        return Ok(None);
    }
    let lacks = |key: &str| OciError::malformed(place, format!("it has no annotation `{key}`"));
    let noted = |key: &str| annotations.get(key).ok_or_else(|| lacks(key));
    let digest = noted(DIGEST)?.strip_prefix("sha256:");
    let digest = digest.and_then(|digits| digits.parse().ok());
    Ok(Some(ModuleRef {
        name: printable::line(noted(TITLE)?, SHOWN_BYTES),
        version: printable::line(noted(VERSION)?, SHOWN_BYTES),
        digest: digest.ok_or_else(|| {
            OciError::malformed(place, format!("its annotation `{DIGEST}` is no digest"))
        })?,
    }))
}

fn parameters(annotations: &Annotations, place: &str, limit: u64) -> Result<Bytes, OciError> {
    let Some(text) = annotations.get(PARAMETERS) else {
        return Ok(Bytes::new());
    };
    let parameters = STANDARD.decode(text).map_err(|_| {
        OciError::malformed(
            place,
            format!("its annotation `{PARAMETERS}` is no base 64"),
        )
    })?;
    match parameters.len() as u64 > limit {
        true => Err(OciError::TooLarge {
            place: place.to_owned(),
            what: "parameters",
            limit,
        }),
        false => Ok(parameters.into()),
    }
}

fn signatures(annotations: &Annotations) -> BTreeMap<String, String> {
    let signatures = annotations.iter().filter_map(|(key, text)| {
        let key = key.strip_prefix(SIGNATURE)?;
        Some((printable::line(key, SHOWN_BYTES), text.clone()))
    });
    signatures.collect()
}

/// Text of others for people.
fn shown(text: &str) -> String {
    match text.is_empty() {
        true => "none".into(),
        false => printable::line(text, SHOWN_BYTES),
    }
}
