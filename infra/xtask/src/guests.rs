//! `cargo x guests`: every module under `guest-transforms/` as a component, and those under `tests/guests/`.
//!
//! What is a guest is asked from the workspace: a member below the folder that builds a `cdylib`. `infra/component`
//! makes a component of it, as it does for `tidemill module build`; here they are written as `target/guests/NAME.wasm`
//! beside an `index.json` that names them, from which the host embeds them. Those of the tests have a folder of their
//! own, because the program embeds everything in the first.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tidemill_component::{BuildError, Built, Package, Toolchain, Workspace};

/// Folders of sources, each with the folder of the target folder in which the components end.
const FOLDERS: [(&str, &str); 2] = [
    ("guest-transforms", "guests"),
    ("tests/guests", "test-guests"),
];

/// Builds the components and their index.
pub(crate) fn run() -> Result<()> {
    let toolchain = Toolchain::new(|name| std::env::var_os(name)).adding_target(true);
    let here = std::env::current_dir().context("this folder has no name")?;
    let workspace = Workspace::read(&toolchain, &root_of(&here)).map_err(told)?;
    for (sources, folder) in FOLDERS {
        let guests = guests(&workspace, sources);
        ensure!(
            !guests.is_empty(),
            "no member under {sources}/ builds a cdylib"
        );
        let built = tidemill_component::build(&toolchain, &workspace, &guests).map_err(told)?;
        write(&built, &guests, &workspace.target().join(folder))?;
    }
    Ok(())
}

/// Writes components and their index.
fn write(built: &[Built], guests: &[Package], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut index = Vec::new();
    for guest in built {
        let file = format!("{}.wasm", guest.package.name);
        write_if_changed(&folder.join(&file), &guest.component)?;
        index.push(json!({
            "name": guest.package.name,
            "version": guest.package.version,
            "file": file,
            "sha256": hex(&Sha256::digest(&guest.component)),
            "bytes": guest.component.len(),
        }));
    }
    remove_strangers(folder, guests)?;
    let mut text = serde_json::to_string_pretty(&index)?;
    text.push('\n');
    write_if_changed(&folder.join("index.json"), text.as_bytes())
}

/// The nearest folder at or above `here` that has a manifest.
fn root_of(here: &Path) -> PathBuf {
    let found = here
        .ancestors()
        .find(|folder| folder.join("Cargo.toml").is_file());
    found.unwrap_or(here).to_owned()
}

/// The members below a folder that build a `cdylib`.
fn guests(workspace: &Workspace, sources: &str) -> Vec<Package> {
    let folder = workspace.root().join(sources);
    let modules = workspace.modules().iter();
    modules
        .filter(|module| module.folder.starts_with(&folder))
        .cloned()
        .collect()
}

/// The error with its next step.
fn told(error: BuildError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow!(error).context(hint),
        None => anyhow!(error),
    }
}

/// Leaves a file alone that is right already: whoever depends on it is then not built again.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// Removes the components of guests that are gone.
fn remove_strangers(folder: &Path, guests: &[Package]) -> Result<()> {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
