//! The modules that are part of the program, so that an initialised project runs without a compiler.
//!
//! They are embedded as they are: compressing them was rejected, because it would save a few megabytes of
//! a program of more than a hundred and cost a second build of a compressor before the build.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind};

include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// A module inside the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltinModule {
    /// Its name: `dim-staff`.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// The digest of the component.
    pub sha256: Digest,
    /// The component.
    pub bytes: &'static [u8],
}

/// What is wrong with the modules inside the program.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// The program was built without any.
    #[error("this tidemill was built without its built-in modules")]
    None,
    /// The index cannot be read.
    #[error("the index of the built-in modules cannot be read")]
    Index(#[source] serde_json::Error),
    /// The index names a file that is not there or differs.
    #[error("the built-in module {name} {problem}")]
    Module {
        /// The module.
        name: String,
        /// "is not in the program".
        problem: &'static str,
    },
}

impl Classify for BuiltinError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Bug
    }

    fn hint(&self) -> Option<String> {
        Some("build it again with `cargo x guests` and `cargo build`".into())
    }
}

/// One line of the index that `cargo x guests` writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    version: String,
    file: String,
    sha256: Digest,
    bytes: u64,
}

/// The digests of the components inside the program: the components are not read, nor is there need for one.
///
/// # Errors
/// `Bug` when the index is damaged.
pub fn digests() -> Result<BTreeSet<Digest>, BuiltinError> {
    let entries: Vec<Entry> = serde_json::from_str(INDEX).map_err(BuiltinError::Index)?;
    Ok(entries.into_iter().map(|entry| entry.sha256).collect())
}

/// Whether some version of a module is inside the program.
pub fn has(name: &str) -> bool {
    let entries: Result<Vec<Entry>, _> = serde_json::from_str(INDEX);
    entries.is_ok_and(|entries| entries.iter().any(|entry| entry.name == name))
}

/// The component of a module that is inside the program, with that very digest and no parameters.
pub fn find(module: &ModuleRef) -> Option<&'static [u8]> {
    let entries: Vec<Entry> = serde_json::from_str(INDEX).ok()?;
    let mut entries = entries.into_iter();
    let entry = entries.find(|e| e.name == module.name && e.version == module.version)?;
    let found = self::module(entry, FILES).ok()?;
    (Digest::of_parts([found.bytes, &[]]) == module.digest).then_some(found.bytes)
}

/// The modules inside the program, in name order, each compared with its digest.
///
/// # Errors
/// `Bug` when the program was built without them, or with others than its index says.
pub fn modules() -> Result<Vec<BuiltinModule>, BuiltinError> {
    read(INDEX, FILES)
}

fn read(
    index: &str,
    files: &[(&'static str, &'static [u8])],
) -> Result<Vec<BuiltinModule>, BuiltinError> {
    let entries: Vec<Entry> = serde_json::from_str(index).map_err(BuiltinError::Index)?;
    if entries.is_empty() {
        return Err(BuiltinError::None);
    }
    let mut modules = entries
        .into_iter()
        .map(|entry| module(entry, files))
        .collect::<Result<Vec<_>, _>>()?;
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

fn module(
    entry: Entry,
    files: &[(&'static str, &'static [u8])],
) -> Result<BuiltinModule, BuiltinError> {
    let wrong = |problem| BuiltinError::Module {
        name: entry.name.clone(),
        problem,
    };
    let (_, bytes) = files
        .iter()
        .find(|(file, _)| *file == entry.file)
        .ok_or_else(|| wrong("is not in the program"))?;
    if u64::try_from(bytes.len()) != Ok(entry.bytes) || Digest::of(bytes) != entry.sha256 {
        return Err(wrong("differs from its digest"));
    }
    Ok(BuiltinModule {
        name: entry.name,
        version: entry.version,
        sha256: entry.sha256,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"\0asm";

    fn index(bytes: usize, sha256: Digest) -> String {
        format!(
            r#"[{{"name":"dim-a","version":"1.0.0","file":"a.wasm","sha256":"{sha256}","bytes":{bytes}}}]"#
        )
    }

    #[test]
    fn a_module_is_found_by_its_file() {
        let modules = read(&index(4, Digest::of(BYTES)), &[("a.wasm", BYTES)]).expect("a module");
        assert_eq!(modules[0].name, "dim-a");
        assert_eq!(modules[0].bytes, BYTES);
    }

    #[test]
    fn an_empty_index_is_refused_when_it_is_needed() {
        assert!(matches!(read("[]", &[]), Err(BuiltinError::None)));
    }

    #[test]
    fn a_missing_or_changed_file_is_refused() {
        let good = index(4, Digest::of(BYTES));
        let missing = read(&good, &[]).expect_err("no file");
        assert_eq!(
            missing.to_string(),
            "the built-in module dim-a is not in the program"
        );
        let changed = read(&good, &[("a.wasm", b"\0ASM")]).expect_err("another file");
        assert_eq!(
            changed.to_string(),
            "the built-in module dim-a differs from its digest"
        );
    }
}
