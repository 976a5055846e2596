//! What can be said of a component before it is compiled: its size, its parts, its imports and its contract.
//!
//! Only the outermost names are read here. That the bytes are a valid component and that its interfaces
//! have the contract's types is checked by the engine when it compiles and links them.

use semver::Version;
use wasmparser::{ComponentInstance, Encoding, Parser, Payload};

use super::error::Refusal;
use super::limits::Limits;
use crate::printable;

/// What WebAssembly begins with.
const MARK: &[u8] = b"\0asm";
/// How much of a guest's name or of a parser's message goes into an error.
const QUOTED_BYTES: usize = 200;
/// How often a component may make an instance of a component within it. A toolchain does it once for each
/// interface. The compiler writes every instance out, and each may make others: with sixteen such places
/// there are at most some 250, with sixty a billion.
const MOST_INSTANCES: usize = 16;

/// Refuses what this host cannot or will not run.
pub(super) fn inspect(component: &[u8], parameters: &[u8], limits: &Limits) -> Result<(), Refusal> {
    sized("component has", component, limits.component_bytes)?;
    sized("parameters have", parameters, limits.parameters_bytes)?;
    let outline = Outline::read(component)?;
    if outline.instances > MOST_INSTANCES {
        return Err(Refusal::Composed {
            found: outline.instances,
            limit: MOST_INSTANCES,
        });
    }
    // The version first: of a component for another contract, every import looks forbidden.
    outline.speaks_our_contract()?;
    outline.imports.iter().try_for_each(|name| granted(name))
}

fn sized(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), Refusal> {
    if bytes.len() > limit {
        return Err(Refusal::Size {
            what,
            bytes: bytes.len(),
            limit,
        });
    }
    Ok(())
}

/// The names at the outermost level of a component, and what it is put together from at every level.
#[derive(Default)]
struct Outline {
    instances: usize,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Outline {
    fn read(component: &[u8]) -> Result<Self, Refusal> {
        let invalid = |e: wasmparser::BinaryReaderError| {
            Refusal::Invalid(printable::line(&e.to_string(), QUOTED_BYTES))
        };
        if !component.starts_with(MARK) {
            return Err(Refusal::Invalid(
                "it does not begin like WebAssembly".into(),
            ));
        }
        let mut outline = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(invalid)? {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => return Err(Refusal::CoreModule),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentInstanceSection(instances) => {
                    for instance in instances {
                        let instance = instance.map_err(invalid)?;
                        let makes = matches!(instance, ComponentInstance::Instantiate { .. });
                        outline.instances += usize::from(makes);
                    }
                }
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        outline
                            .imports
                            .push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        outline
                            .exports
                            .push(export.map_err(invalid)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn speaks_our_contract(&self) -> Result<(), Refusal> {
        let mut others = self
            .exports
            .iter()
            .filter_map(|name| name.strip_prefix("tidemill:transform/transform@"));
        match others.next() {
            None => Err(Refusal::NoTransform),
            Some(version) if is_spoken(version) => Ok(()),
            Some(version) => Err(Refusal::Contract {
                found: printable::line(version, QUOTED_BYTES),
            }),
        }
    }
}

/// Whether `name` is the log, or the types of the contract, which carry no function: the interface
/// `transform` uses them, so every component names them as an import.
fn granted(name: &str) -> Result<(), Refusal> {
    let version = ["tidemill:transform/log@", "tidemill:transform/types@"]
        .iter()
        .find_map(|interface| name.strip_prefix(interface));
    match version {
        Some(version) if is_spoken(version) => Ok(()),
        _ => Err(Refusal::Import(printable::line(name, QUOTED_BYTES))),
    }
}

/// Whether this host speaks `version` of the contract: the same major, and no minor that it does not know.
fn is_spoken(version: &str) -> bool {
    let ours = Version::parse(super::CONTRACT);
    let theirs = Version::parse(version);
    ours.is_ok_and(|ours| {
        theirs.is_ok_and(|theirs| {
            theirs.major == ours.major && theirs.minor <= ours.minor && theirs.pre.is_empty()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_the_contract_are_spoken_and_nothing_newer() {
        assert!(is_spoken("1.0.0"));
        assert!(is_spoken("1.0.7"));
        for version in ["1.1.0", "2.0.0", "0.9.0", "1.0.0-rc.1", "1", ""] {
            assert!(!is_spoken(version), "{version}");
        }
    }

    #[test]
    fn no_import_but_the_log_is_granted() {
        assert!(granted("tidemill:transform/log@1.0.3").is_ok());
        for name in [
            "wasi:cli/environment@0.2.0",
            "tidemill:transform/log@2.0.0",
            "tidemill:transform/log",
            "tidemill:transform/logs@1.0.0",
        ] {
            let error = granted(name).expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
