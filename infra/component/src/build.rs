//! From a crate to a component.
//!
//! The profile `guest` was chosen by measuring the eleven modules of totesys on two busy cores: a build from nothing in
//! seconds of CPU, all components together, and rows of `fact-sales-order` through a component in wasmtime, in chunks
//! of 8 192, best of three.
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
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use wit_component::ComponentEncoder;

use crate::error::BuildError;
use crate::outline::{self, Metadata, Outline};
use crate::toolchain::{TARGET, Toolchain, output};
use crate::workspace::{Package, Workspace, items};

/// The profile of a build, given on the command line: a crate outside of this repository needs no word of it, and
/// cannot have another, with which the same source would have another digest.
const PROFILE: [&str; 7] = [
    "profile.guest.inherits=\"release\"",
    "profile.guest.opt-level=3",
    "profile.guest.lto=\"fat\"",
    "profile.guest.codegen-units=1",
    "profile.guest.panic=\"abort\"",
    "profile.guest.strip=true",
    "profile.guest.debug=false",
];

/// A crate that became a component.
#[derive(Debug, Clone)]
pub struct Built {
    /// The crate.
    pub package: Package,
    /// The component, checked: it imports the log at most and exports the transform and nothing else.
    pub component: Vec<u8>,
    /// What it says it was made of.
    pub metadata: Metadata,
}

/// Builds modules of a workspace, in one call of cargo, whose messages go to stderr.
///
/// # Errors
/// A program or the target is missing, a crate does not compile, or is no module.
pub fn build(
    toolchain: &Toolchain,
    workspace: &Workspace,
    packages: &[Package],
) -> Result<Vec<Built>, BuildError> {
    toolchain.need_target(workspace.root())?;
    let rustc = toolchain.rustc_version(workspace.root())?;
    let modules = compile(toolchain, workspace, packages)?;
    packages
        .iter()
        .map(|package| {
            let core = modules
                .get(&package.name)
                .ok_or_else(|| BuildError::Unknown(format!("it built no {}", package.name)))?;
            let metadata = Metadata {
                name: Some(package.name.clone()),
                version: Some(package.version.clone()),
                revision: Some(package.revision()?),
                sdk: workspace.sdk_version().map(str::to_owned),
                compiler: Some(rustc.clone()),
            };
            let core = fs::read(core).map_err(|cause| BuildError::Read {
                file: core.clone(),
                cause,
            })?;
            Ok(Built {
                package: package.clone(),
                component: component(&package.name, &core, &metadata)?,
                metadata,
            })
        })
        .collect()
}

/// Builds all packages in one call and gives the core module of each.
fn compile(
    toolchain: &Toolchain,
    workspace: &Workspace,
    packages: &[Package],
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let root = workspace.root();
    // Flags of one crate can be given for one crate only; where the SDK is elsewhere, modules are built one by one.
    let together = workspace.has_sdk();
    let calls: Vec<&[Package]> = match together {
        true => vec![packages],
        false => packages.chunks(1).collect(),
    };
    let mut modules = BTreeMap::new();
    for called in calls {
        let mut cargo = toolchain.cargo();
        cargo
            .current_dir(root)
            .arg(if together { "build" } else { "rustc" })
            .args(["--profile", "guest", "--target", TARGET, "--lib"])
            .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
            .arg("--message-format=json-render-diagnostics")
            // The hash maps of Arrow take their seeds from this when they are compiled; without it every build differs.
            .env("CONST_RANDOM_SEED", "tidemill")
            // In this variable, because it wins over the flags and wrappers of whoever builds.
            .env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain.home, workspace))
            .stderr(Stdio::inherit());
        for package in called {
            cargo.args(["--package", &package.name]);
            if !together {
                cargo.arg("--").arg(renamed(root, &package.name));
            }
        }
        let said = output(&mut cargo)?;
        if !said.status.success() {
            let names = called.iter().map(|package| package.name.clone());
            return Err(BuildError::Compile {
                names: names.collect(),
            });
        }
        modules.append(&mut libraries(&said.stdout)?);
    }
    Ok(modules)
}

/// The files of WebAssembly that cargo says it has built, by their crates.
fn libraries(messages: &[u8]) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut modules = BTreeMap::new();
    for line in messages
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: Value =
            serde_json::from_slice(line).map_err(|error| BuildError::Unknown(error.to_string()))?;
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
/// A workspace that has the SDK outside of it is not named here but in the flags of its module alone: with a flag
/// that differs from folder to folder, Arrow would be compiled again for every module that shares a target folder.
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
fn flags(cargo_home: &Path, workspace: &Workspace) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+simd128");
    let mut name_folder = |folder: &Path, name: &str| {
        flags.push("\u{1f}");
        flags.push(renamed(folder, name));
    };
    // Of several that fit, rustc takes the last: a crate lies in a folder that is named after the registry it came
    // from, and a mirror has another name.
    name_folder(cargo_home, "cargo");
    let registries = fs::read_dir(cargo_home.join("registry").join("src"));
    let mut registries: Vec<_> = registries.into_iter().flatten().flatten().collect();
    registries.sort_by_key(std::fs::DirEntry::file_name);
    for registry in registries {
        name_folder(&registry.path(), "crates");
    }
    for (folder, name) in workspace.strange_folders() {
        name_folder(&folder, &name);
    }
    flags
}

/// The flag that puts a name in the place of a folder.
fn renamed(folder: &Path, name: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(folder);
    flag.push("=");
    flag.push(name);
    flag
}

/// The component of a core module, checked.
fn component(name: &str, core: &[u8], metadata: &Metadata) -> Result<Vec<u8>, BuildError> {
    let no_module = |reason: String| BuildError::NoModule {
        name: name.to_owned(),
        reason,
    };
    let component = ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| no_module(format!("{error:#}")))?;
    let component = metadata.stamp(&component).map_err(no_module)?;
    outline::validate(&component).map_err(no_module)?;
    let outline = Outline::read(&component).map_err(|error| no_module(error.to_string()))?;
    outline.fits_the_contract().map_err(no_module)?;
    Ok(component)
}
