//! What stands in a component besides its code: what it imports and exports, how large it is, what it was made of.
//!
//! What it was made of stands where other tools look for it: the name in the component's `name` section, version and
//! revision in sections of these names, SDK and compiler among the `producers`. An own section for all of it was
//! rejected, because then only tidemill could read it.

use std::fmt;

use wasm_encoder::{ComponentSection as _, CustomSection};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wasmparser::{
    ComponentName, ComponentNameSectionReader, Encoding, KnownCustom, Parser, Payload,
    ProducersSectionReader, Validator, WasmFeatures,
};

/// What a component may import: the log, and the interface that holds the contract's types and no function.
const IMPORTS: [&str; 2] = [
    "tidemill:transform/log@1.0.0",
    "tidemill:transform/types@1.0.0",
];
/// What it must export.
const EXPORT: &str = "tidemill:transform/transform@1.0.0";

const VERSION: &str = "version";
const REVISION: &str = "revision";
const SDK: &str = "tidemill-sdk";
const COMPILER: &str = "rustc";

/// What a component says it was made of. Only what made it vouches for that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The name of its crate.
    pub name: Option<String>,
    /// The version of its crate.
    pub version: Option<String>,
    /// Its sources: `sources-sha256:` and a digest.
    pub revision: Option<String>,
    /// The version of the SDK.
    pub sdk: Option<String>,
    /// The version of rustc.
    pub compiler: Option<String>,
}

/// What stands in a component besides its code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// Bytes of functions.
    pub code_bytes: u64,
    /// Bytes of constants.
    pub data_bytes: u64,
    /// What it says it was made of.
    pub metadata: Metadata,
}

/// Why there is no outline of some bytes.
#[derive(Debug)]
pub enum OutlineError {
    /// They are no WebAssembly.
    Invalid(String),
    /// They are WebAssembly, but no component.
    Core,
}

impl fmt::Display for OutlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => write!(f, "it is no WebAssembly: {reason}"),
            Self::Core => f.write_str("it is a core module and no component"),
        }
    }
}

impl std::error::Error for OutlineError {}

impl Outline {
    /// Reads the outline of a component, which may be hostile. That it is valid, and a module, is not looked at.
    ///
    /// # Errors
    /// The bytes are no component.
    pub fn read(component: &[u8]) -> Result<Self, OutlineError> {
        let mut outline = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(invalid)? {
                Payload::Version { encoding, .. } if depth == 0 && encoding == Encoding::Module => {
                    return Err(OutlineError::Core);
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CodeSectionStart { range, .. } => {
                    outline.code_bytes += range.len() as u64;
                }
                Payload::DataSection(section) => outline.data_bytes += section.range().len() as u64,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(invalid)?;
                        outline.imports.push(import.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(invalid)?;
                        outline.exports.push(export.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if depth == 0 => {
                    let known = section.as_known();
                    outline.metadata.note(section.name(), section.data(), known);
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Sees to it that it imports the log at most and exports the transform and nothing else.
    pub(crate) fn fits_the_contract(&self) -> Result<(), String> {
        let strange = |name: &&String| !IMPORTS.contains(&name.as_str());
        if let Some(import) = self.imports.iter().find(strange) {
            return Err(format!(
                "it imports {import}, and a module may import the log only"
            ));
        }
        match self.exports.as_slice() {
            [export] if export == EXPORT => Ok(()),
            [] => Err(format!("it exports nothing, and not {EXPORT}")),
            exports => Err(format!(
                "it exports {} and not {EXPORT}",
                exports.join(", ")
            )),
        }
    }
}

/// Sees to it that a component is valid.
pub(crate) fn validate(component: &[u8]) -> Result<(), String> {
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(component)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn invalid(error: wasmparser::BinaryReaderError) -> OutlineError {
    OutlineError::Invalid(error.to_string())
}

impl Metadata {
    /// The component with this in it.
    pub(crate) fn stamp(&self, component: &[u8]) -> Result<Vec<u8>, String> {
        let mut add = AddMetadata::default();
        if let Some(name) = &self.name {
            add.name = AddMetadataField::Set(name.clone());
        }
        add.language = vec![("Rust".to_owned(), String::new())];
        let tool = |name: &str, version: &Option<String>| {
            let version = version.iter();
            version
                .map(|version| (name.to_owned(), version.clone()))
                .collect()
        };
        add.processed_by = tool(COMPILER, &self.compiler);
        add.sdk = tool(SDK, &self.sdk);
        let mut stamped = add
            .to_wasm(component)
            .map_err(|error| format!("{error:#}"))?;
        for (name, text) in [(VERSION, &self.version), (REVISION, &self.revision)] {
            if let Some(text) = text {
                let section = CustomSection {
                    name: name.into(),
                    data: text.as_bytes().into(),
                };
                section.append_to_component(&mut stamped);
            }
        }
        Ok(stamped)
    }

    /// Takes from a section what it says; what is damaged says nothing.
    fn note(&mut self, name: &str, data: &[u8], known: KnownCustom<'_>) {
        let text = || std::str::from_utf8(data).ok().map(str::to_owned);
        match (name, known) {
            (VERSION, _) => self.version = text(),
            (REVISION, _) => self.revision = text(),
            (_, KnownCustom::ComponentName(names)) => self.name = name_of(names),
            (_, KnownCustom::Producers(producers)) => {
                self.sdk = producer(producers.clone(), "sdk", SDK);
                self.compiler = producer(producers, "processed-by", COMPILER);
            }
            _ => {}
        }
    }
}

fn name_of(names: ComponentNameSectionReader<'_>) -> Option<String> {
    names.into_iter().flatten().find_map(|name| match name {
        ComponentName::Component { name, .. } => Some(name.to_owned()),
        _ => None,
    })
}

/// The version of a tool among those that made a component.
fn producer(section: ProducersSectionReader<'_>, field: &str, tool: &str) -> Option<String> {
    let fields = section.into_iter().flatten();
    let mut values = fields
        .filter(|found| found.name == field)
        .flat_map(|found| found.values.into_iter().flatten());
    let value = values.find(|value| value.name == tool)?;
    Some(value.version.to_owned())
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        Component, ComponentExportKind, ComponentExportSection, ComponentImportSection,
        ComponentTypeRef, ComponentTypeSection, InstanceType,
    };

    use super::*;

    /// A component that imports empty interfaces and exports the last of them under a name.
    fn importing(names: &[&str], export: &str) -> Vec<u8> {
        let mut component = Component::new();
        let mut types = ComponentTypeSection::new();
        types.instance(&InstanceType::new());
        component.section(&types);
        let mut imports = ComponentImportSection::new();
        for name in names {
            imports.import(*name, ComponentTypeRef::Instance(0));
        }
        component.section(&imports);
        let mut exports = ComponentExportSection::new();
        let last = names.len() as u32 - 1;
        exports.export(export, ComponentExportKind::Instance, last, None);
        component.section(&exports);
        component.finish()
    }

    fn check(component: &[u8]) -> Result<(), String> {
        validate(component)?;
        Outline::read(component).unwrap().fits_the_contract()
    }

    #[test]
    fn a_component_that_imports_the_log_and_exports_the_transform_is_a_module() {
        check(&importing(&IMPORTS, EXPORT)).unwrap();
    }

    #[test]
    fn a_component_with_any_other_import_is_none() {
        for import in [
            "wasi:clocks/wall-clock@0.2.0",
            "tidemill:transform/log@2.0.0",
        ] {
            let refused = check(&importing(&[IMPORTS[0], import], EXPORT)).unwrap_err();
            assert_eq!(
                refused,
                format!("it imports {import}, and a module may import the log only")
            );
        }
    }

    #[test]
    fn a_component_with_another_export_is_none() {
        let refused = check(&importing(&IMPORTS, "some:other/thing@1.0.0")).unwrap_err();
        assert!(refused.starts_with("it exports"), "{refused}");
    }

    #[test]
    fn what_a_component_was_made_of_is_read_back() {
        let plain = importing(&IMPORTS, EXPORT);
        let metadata = Metadata {
            name: Some("dim-a".into()),
            version: Some("1.2.3".into()),
            revision: Some("sources-sha256:00".into()),
            sdk: Some("0.1.0".into()),
            compiler: Some("1.95.0".into()),
        };
        let stamped = metadata.stamp(&plain).unwrap();
        check(&stamped).unwrap();
        assert_eq!(Outline::read(&stamped).unwrap().metadata, metadata);
        assert_eq!(Outline::read(&plain).unwrap().metadata, Metadata::default());
    }

    #[test]
    fn what_is_no_component_is_told() {
        let told = |bytes: &[u8]| Outline::read(bytes).unwrap_err().to_string();
        assert!(told(b"#!/bin/sh").starts_with("it is no WebAssembly: "));
        let core = b"\0asm\x01\0\0\0";
        assert_eq!(told(core), "it is a core module and no component");
    }
}
