//! `cargo x guests`: every module under `guest-transforms/` as a component, and those under `tests/guests/`.
//!
//! Cargo builds all guests of a folder in one call, `wit-component` makes components of them in this process, and
//! they end as `target/guests/NAME.wasm` beside an `index.json` that names them; those of the tests in a folder of
//! their own, because the program embeds everything in the first. What is a guest is asked from the workspace: a
//! member below the folder that builds a `cdylib`. The same source gives the same bytes on every machine and in every
//! folder, for a module's digest stands for its code.
//!
//! The profile `guest` in the root `Cargo.toml` was chosen by measuring the eleven modules of totesys on two busy
//! cores: a build from nothing in seconds of CPU, all components together, and rows of `fact-sales-order` through a
//! component in wasmtime, in chunks of 8 192, best of three.
//!
//! | lto  | CPU  | size     | rows/s |
//! |------|-----:|---------:|-------:|
//! | fat  | 66 s | 11.09 MB |  8.9 M |
//! | thin | 95 s | 11.09 MB |  8.6 M |
//! | off  | 90 s | 11.09 MB |  9.5 M |
//!
//! Size is the same and speed within the noise, for with one codegen unit and small crates there is little left to
//! find; fat is the quickest build, because the crates below are then compiled to bitcode alone. A change of the SDK
//! costs 11 s of CPU, a change of one table 1 s.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wit_component::ComponentEncoder;

use crate::workspace::cargo;

const TARGET: &str = "wasm32-unknown-unknown";
/// What a component may import: the log, and the interface that holds the contract's types and no function.
const IMPORTS: [&str; 2] = [
    "tidemill:transform/log@1.0.0",
    "tidemill:transform/types@1.0.0",
];
/// What it must export.
const EXPORT: &str = "tidemill:transform/transform@1.0.0";

/// Folders of sources, each with the folder of the target folder in which the components end.
const FOLDERS: [(&str, &str); 2] = [
    ("guest-transforms", "guests"),
    ("tests/guests", "test-guests"),
];

/// A member of the workspace that is a module.
struct Guest {
    name: String,
    version: String,
}

/// Builds the components and their index.
pub(crate) fn run() -> Result<()> {
    let metadata = metadata()?;
    let root = path(&metadata, "workspace_root")?;
    let target = path(&metadata, "target_directory")?;
    add_target()?;
    for (sources, folder) in FOLDERS {
        let guests = guests(&metadata, &root.join(sources))?;
        ensure!(
            !guests.is_empty(),
            "no member under {sources}/ builds a cdylib"
        );
        make(&root, &guests, &target.join(folder))?;
    }
    Ok(())
}

/// Builds guests and writes their components and their index.
fn make(root: &Path, guests: &[Guest], folder: &Path) -> Result<()> {
    let modules = build(root, guests)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut index = Vec::new();
    for guest in guests {
        let module = modules
            .get(&guest.name)
            .with_context(|| format!("cargo built no module for {}", guest.name))?;
        let component =
            component(module).with_context(|| format!("{} is no module", guest.name))?;
        let file = format!("{}.wasm", guest.name);
        write_if_changed(&folder.join(&file), &component)?;
        index.push(json!({
            "name": guest.name,
            "version": guest.version,
            "file": file,
            "sha256": hex(&Sha256::digest(&component)),
            "bytes": component.len(),
        }));
    }
    remove_strangers(folder, guests)?;
    let mut text = serde_json::to_string_pretty(&index)?;
    text.push('\n');
    write_if_changed(&folder.join("index.json"), text.as_bytes())
}

fn metadata() -> Result<Value> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed");
    serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")
}

/// The guests whose sources are below `folder`.
fn guests(metadata: &Value, folder: &Path) -> Result<Vec<Guest>> {
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("cargo metadata names no packages")?;
    let mut guests = Vec::new();
    for package in packages {
        let text = |key: &str| {
            package
                .get(key)
                .and_then(Value::as_str)
                .with_context(|| format!("a package has no {key}"))
        };
        let builds_cdylib = items(package, "targets")
            .flat_map(|target| items(target, "crate_types"))
            .any(|crate_type| crate_type == "cdylib");
        if builds_cdylib && Path::new(text("manifest_path")?).starts_with(folder) {
            guests.push(Guest {
                name: text("name")?.to_owned(),
                version: text("version")?.to_owned(),
            });
        }
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

/// Sees to it that rustc can compile for the target.
fn add_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run rustc")?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let has_core = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"));
    if has_core {
        return Ok(());
    }
    match Command::new("rustup")
        .args(["target", "add", TARGET])
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            bail!("the Rust target {TARGET} is missing and `rustup target add {TARGET}` failed")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the Rust target {TARGET} is missing and there is no rustup to add it: install the standard library of \
             this Rust for {TARGET} the way this Rust was installed"
        ),
        Err(error) => Err(error).context("cannot run rustup"),
    }
}

/// Builds all guests in one call and gives the core module of each.
fn build(root: &Path, guests: &[Guest]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = cargo();
    cargo
        .current_dir(root)
        .args(["build", "--profile", "guest", "--target", TARGET, "--lib"])
        .arg("--message-format=json-render-diagnostics")
        // The hash maps of Arrow take their seeds from this when they are compiled; without it every build differs.
        .env("CONST_RANDOM_SEED", "tidemill")
        // In this variable, because it wins over the flags and wrappers of whoever builds.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?)
        .stderr(Stdio::inherit());
    for guest in guests {
        cargo.args(["--package", &guest.name]);
    }
    let output = cargo.output().context("cannot run cargo build")?;
    ensure!(output.status.success(), "the guests do not build");
    let mut modules = BTreeMap::new();
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: Value = serde_json::from_slice(line).context("cargo build gave no JSON")?;
        for file in items(&message, "filenames")
            .filter_map(Value::as_str)
            .filter(|file| file.ends_with(".wasm"))
        {
            if let Some(name) = message.pointer("/target/name").and_then(Value::as_str) {
                modules.insert(name.replace('_', "-"), PathBuf::from(file));
            }
        }
    }
    Ok(modules)
}

/// The flags of rustc, separated as cargo wants them: SIMD, which every host of the contract has, and names in place
/// of the folders in which the sources happen to lie, which would otherwise stand in the messages of panics.
///
/// What SIMD brings, for a million rows through a whole session in the sandbox: processor time, the best of 5 on a
/// busy machine of two cores, and fuel per row.
///
/// | module | with | without |
/// |---|---|---|
/// | `fact-sales-order` | 126 ms, 983 | 124 ms, 996 |
/// | `dim-staff` | 138 ms, 1 124 | 143 ms, 1 124 |
/// | `dim-counterparty` | 215 ms, 2 133 | 203 ms, 2 133 |
///
/// That is nothing beyond the noise: these modules copy columns and parse dates, and do little arithmetic over
/// whole columns. It is on because it costs nothing either, and a module that does compute finds it there.
fn flags(root: &Path) -> Result<OsString> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()
            .context("there is no home folder")?
            .join(".cargo"),
    };
    let mut flags = OsString::from("-Ctarget-feature=+simd128");
    let mut name_folder = |folder: &Path, name: &str| {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    };
    // Of several that fit, rustc takes the last: a crate lies in a folder that is named after the registry it came
    // from, and a mirror has another name.
    name_folder(&cargo_home, "cargo");
    let registries = fs::read_dir(cargo_home.join("registry").join("src"));
    let mut registries: Vec<_> = registries.into_iter().flatten().flatten().collect();
    registries.sort_by_key(std::fs::DirEntry::file_name);
    for registry in registries {
        name_folder(&registry.path(), "crates");
    }
    name_folder(root, "tidemill");
    Ok(flags)
}

/// The component of a core module, checked.
fn component(module: &Path) -> Result<Vec<u8>> {
    let core = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|mut encoder| encoder.encode())?;
    check(&component)?;
    Ok(component)
}

/// Sees to it that a component is valid, imports the log at most and exports the transform and nothing else.
fn check(component: &[u8]) -> Result<()> {
    Validator::new_with_features(WasmFeatures::default()).validate_all(component)?;
    let (imports, exports) = interface(component)?;
    if let Some(import) = imports
        .iter()
        .find(|name| !IMPORTS.contains(&name.as_str()))
    {
        bail!("it imports {import}, and a module may import the log only");
    }
    ensure!(
        exports == [EXPORT],
        "it exports {exports:?} and not {EXPORT}"
    );
    Ok(())
}

/// The names of what a component imports and exports itself, not those of what it is made of.
fn interface(component: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// Leaves a file alone that is right already: whoever depends on it is then not built again.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// Removes the components of guests that are gone.
fn remove_strangers(folder: &Path, guests: &[Guest]) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default();
        let is_component = path
            .extension()
            .is_some_and(|extension| extension == "wasm");
        if is_component && !guests.iter().any(|guest| name == guest.name.as_str()) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The items of a list in a JSON object; none where there is no list.
fn items<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn path(metadata: &Value, key: &str) -> Result<PathBuf> {
    metadata
        .get(key)
        .and_then(Value::as_str)
        .map(PathBuf::from)
        .with_context(|| format!("cargo metadata names no {key}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
                refused.to_string(),
                format!("it imports {import}, and a module may import the log only")
            );
        }
    }

    #[test]
    fn a_component_with_another_export_is_none() {
        let refused = check(&importing(&IMPORTS, "some:other/thing@1.0.0")).unwrap_err();
        assert!(refused.to_string().starts_with("it exports"), "{refused}");
    }

    #[test]
    fn the_guests_are_the_members_under_a_folder_that_build_a_cdylib() {
        let package = |name: &str, folder: &str, kind: &str| {
            json!({
                "name": name,
                "version": "1.0.0",
                "manifest_path": format!("/w/{folder}/{name}/Cargo.toml"),
                "targets": [{"crate_types": [kind, "rlib"]}],
            })
        };
        let metadata = json!({"packages": [
            package("fact-b", "guest-transforms/totesys", "cdylib"),
            package("dim-a", "guest-transforms/cars", "cdylib"),
            package("sdk", "guest-transforms", "lib"),
            package("plugin", "host", "cdylib"),
        ]});
        let names: Vec<_> = guests(&metadata, Path::new("/w/guest-transforms"))
            .unwrap()
            .into_iter()
            .map(|guest| guest.name)
            .collect();
        assert_eq!(names, ["dim-a", "fact-b"]);
    }
}
