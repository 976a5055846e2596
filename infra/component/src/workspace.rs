//! The crates around a module, as cargo knows them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::BuildError;
use crate::toolchain::{TARGET, Toolchain, output};

/// The crate that modules are written with.
const SDK: &str = "tidemill-sdk";
/// What the folder of its repository is called in a module.
const REPOSITORY: &str = "tidemill";

/// A workspace with modules in it; often it is the crate of one.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
    modules: Vec<Package>,
    /// The members that are no modules.
    others: Vec<Package>,
    /// Crates outside of the root that are depended on by path.
    pub(crate) neighbours: Vec<Package>,
    sdk: Option<Package>,
}

/// A crate on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its folder.
    pub folder: PathBuf,
}

impl Workspace {
    /// Asks cargo about the workspace that the crate in `folder` belongs to.
    ///
    /// # Errors
    /// There is no crate, or cargo cannot read it; it then has said why on stderr.
    pub fn read(toolchain: &Toolchain, folder: &Path) -> Result<Self, BuildError> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(BuildError::NoCrate {
                folder: folder.to_owned(),
            });
        }
        let mut cargo = toolchain.cargo();
        // In the folder, so that its own settings of cargo and its own toolchain count.
        cargo
            .current_dir(folder)
            .args(["metadata", "--format-version", "1"])
            .args(["--filter-platform", TARGET])
            .stderr(Stdio::inherit());
        let said = output(&mut cargo)?;
        if !said.status.success() {
            return Err(BuildError::Manifest);
        }
        let metadata = serde_json::from_slice(&said.stdout)
            .map_err(|error| BuildError::Unknown(error.to_string()))?;
        Self::of(&metadata)
    }

    fn of(metadata: &Value) -> Result<Self, BuildError> {
        let members: Vec<_> = items(metadata, "workspace_members").collect();
        let mut workspace = Self {
            root: text(metadata, "workspace_root")?.into(),
            target: text(metadata, "target_directory")?.into(),
            modules: Vec::new(),
            others: Vec::new(),
            neighbours: Vec::new(),
            sdk: None,
        };
        for said in items(metadata, "packages") {
            let package = Package::of(said)?;
            if package.name == SDK {
                workspace.sdk = Some(package.clone());
            }
            let is_here = said.get("source").is_none_or(Value::is_null);
            let id = said.get("id");
            let is_member = members.iter().any(|member| Some(*member) == id);
            let builds_cdylib = items(said, "targets")
                .flat_map(|target| items(target, "crate_types"))
                .any(|crate_type| crate_type == "cdylib");
            match (is_member, builds_cdylib) {
                (true, true) => workspace.modules.push(package),
                (true, false) => workspace.others.push(package),
                _ if is_here && !package.folder.starts_with(&workspace.root) => {
                    workspace.neighbours.push(package);
                }
                _ => {}
            }
        }
        workspace.modules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(workspace)
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The members that build a `cdylib`, by name.
    pub fn modules(&self) -> &[Package] {
        &self.modules
    }

    /// The version of the SDK that they are written with.
    pub fn sdk_version(&self) -> Option<&str> {
        self.sdk.as_ref().map(|sdk| sdk.version.as_str())
    }

    /// Whether the SDK lies in the workspace itself.
    pub(crate) fn has_sdk(&self) -> bool {
        let sdk = self.sdk.as_ref();
        sdk.is_some_and(|sdk| sdk.folder.starts_with(&self.root))
    }

    /// The folders of others that code is compiled from, with the names to put in their place. The SDK's has the
    /// same name from within its repository and from without, so that both builds may share what is compiled.
    pub(crate) fn strange_folders(&self) -> Vec<(PathBuf, String)> {
        let repository = self.sdk.as_ref().map(|sdk| root_of(&sdk.folder));
        let mut folders = Vec::new();
        for neighbour in &self.neighbours {
            // What lies in the SDK's repository beside it, such as what reads cases, is of that repository, too.
            let above = repository
                .iter()
                .find(|root| neighbour.folder.starts_with(root));
            let folder = match above {
                Some(root) => (root.clone(), REPOSITORY.to_owned()),
                None => (neighbour.folder.clone(), neighbour.name.clone()),
            };
            folders.push(folder);
        }
        if self.has_sdk() {
            folders.push((self.root.clone(), REPOSITORY.to_owned()));
        }
        // The deepest last: of several that fit, rustc takes the last.
        folders.sort();
        folders.dedup();
        folders
    }

    /// The module whose crate is in `folder`.
    ///
    /// # Errors
    /// The crate there is no module, or there is none itself.
    pub fn module_in(&self, folder: &Path) -> Result<&Package, BuildError> {
        let is_there = |package: &&Package| same_folder(&package.folder, folder);
        if let Some(module) = self.modules.iter().find(is_there) {
            return Ok(module);
        }
        if let Some(other) = self.others.iter().find(is_there) {
            return Err(BuildError::NoLibrary {
                name: other.name.clone(),
            });
        }
        Err(BuildError::Several {
            folder: folder.to_owned(),
            modules: self.modules.iter().map(|m| m.name.clone()).collect(),
        })
    }
}

impl Package {
    fn of(said: &Value) -> Result<Self, BuildError> {
        let manifest = PathBuf::from(text(said, "manifest_path")?);
        Ok(Self {
            name: text(said, "name")?.to_owned(),
            version: text(said, "version")?.to_owned(),
            folder: manifest.parent().unwrap_or(&manifest).to_owned(),
        })
    }

    /// Which sources it was made of: the digest of `Cargo.toml`, `build.rs` and everything in `src`, so that a commit
    /// of something else changes nothing, and a folder that was never committed has one, too.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn revision(&self) -> Result<String, BuildError> {
        let mut files = vec![self.folder.join("Cargo.toml")];
        let script = self.folder.join("build.rs");
        if script.is_file() {
            files.push(script);
        }
        files_below(&self.folder.join("src"), &mut files)?;
        let mut parts = Vec::new();
        for file in files {
            let inside = file.strip_prefix(&self.folder).unwrap_or(&file);
            let name: Vec<_> = inside
                .components()
                .map(|part| part.as_os_str().to_string_lossy())
                .collect();
            let bytes = std::fs::read(&file).map_err(|cause| BuildError::Read {
                file: file.clone(),
                cause,
            })?;
            parts.push((name.join("/"), bytes));
        }
        parts.sort();
        let mut hasher = Sha256::new();
        for (name, bytes) in parts {
            for part in [name.as_bytes(), &bytes] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Ok(format!("sources-sha256:{}", hex(&hasher.finalize())))
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    let unreadable = |cause| BuildError::Read {
        file: folder.to_owned(),
        cause,
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        match path.is_dir() {
            true => files_below(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// The folder of the workspace that a crate belongs to.
fn root_of(folder: &Path) -> PathBuf {
    let is_root = |folder: &&Path| {
        std::fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[workspace]"))
    };
    let found = folder.ancestors().find(is_root);
    found.unwrap_or(folder).to_owned()
}

fn same_folder(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// The items of a list in a JSON object; none where there is no list.
pub(crate) fn items<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(object: &'a Value, key: &str) -> Result<&'a str, BuildError> {
    object
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| BuildError::Unknown(format!("there is no {key}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, folder: &str, kind: &str, source: Option<&str>) -> Value {
        json!({
            "id": name,
            "name": name,
            "version": "1.0.0",
            "source": source,
            "manifest_path": format!("{folder}/{name}/Cargo.toml"),
            "targets": [{"crate_types": [kind, "rlib"]}],
        })
    }

    fn workspace() -> Workspace {
        Workspace::of(&json!({
            "workspace_root": "/w",
            "target_directory": "/t",
            "workspace_members": ["fact-b", "dim-a", "book"],
            "packages": [
                package("fact-b", "/w", "cdylib", None),
                package("dim-a", "/w", "cdylib", None),
                package("book", "/w", "lib", None),
                package("tidemill-sdk", "/elsewhere", "lib", None),
                package("plugin", "/registry", "cdylib", Some("registry")),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn modules_are_the_members_that_build_a_cdylib() {
        let workspace = workspace();
        let names: Vec<_> = workspace
            .modules()
            .iter()
            .map(|m| m.name.as_str())
            .collect();
        assert_eq!(names, ["dim-a", "fact-b"]);
        assert_eq!(workspace.sdk_version(), Some("1.0.0"));
        assert!(!workspace.has_sdk());
        assert_eq!(workspace.neighbours.len(), 1);
    }

    #[test]
    fn what_is_no_module_is_said_to_be_none() {
        let workspace = workspace();
        let told = |folder: &str| workspace.module_in(Path::new(folder)).unwrap_err();
        assert!(matches!(told("/w/book"), BuildError::NoLibrary { name } if name == "book"));
        let several = told("/w");
        assert_eq!(several.to_string(), "/w is a workspace and no crate");
        assert_eq!(
            several.hint().as_deref(),
            Some("name the folder of one of its modules: dim-a, fact-b")
        );
        assert_eq!(
            workspace.module_in(Path::new("/w/dim-a")).unwrap().name,
            "dim-a"
        );
    }

    #[test]
    fn a_revision_follows_the_sources_and_not_their_folder() {
        let revision = |code: &str, beside: &str| {
            let name = format!("tidemill-revision-{}-{code}{beside}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let package = Package {
                name: "dim-a".into(),
                version: "1.0.0".into(),
                folder: folder.clone(),
            };
            std::fs::create_dir_all(folder.join("src/deep")).unwrap();
            std::fs::write(folder.join("Cargo.toml"), "[package]").unwrap();
            std::fs::write(folder.join("src/deep/lib.rs"), code).unwrap();
            std::fs::write(folder.join("README.md"), beside).unwrap();
            let revision = package.revision().unwrap();
            std::fs::remove_dir_all(folder).unwrap();
            revision
        };
        assert_eq!(revision("1", "a"), revision("1", "b"));
        assert_ne!(revision("1", "a"), revision("2", "a"));
    }
}
