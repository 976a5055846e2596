//! A module of a crate outside of this repository, built by the real cargo and rustc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidemill_component::{BuildError, Built, Outline, Toolchain, Workspace, build};

const NAME: &str = "dim-elsewhere";

const CODE: &str = r#"
use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_elsewhere);

pub fn dim_elsewhere() -> Table {
    let note = Input::changes("note").key(integer("note_id"));
    // A place that a panic would name.
    assert!(std::hint::black_box(1) == 1, "never");
    Table::upsert("dim_elsewhere").key("note_id", note.integer("note_id"))
}
"#;

/// The folder of this repository.
fn repository() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("it has a folder above")?;
    Ok(root.to_owned())
}

/// An empty folder, outside of this repository.
fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir()?)
}

/// The target folder of this test, in which the modules of this repository were built: Arrow is there already.
fn target() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).context("a target folder")?;
    Ok(target.to_owned())
}

/// A crate in `folder`, which takes the SDK from this repository, and all else in the versions of this repository.
fn write(folder: &Path, code: &str) -> Result<()> {
    fs::create_dir_all(folder.join("src"))?;
    fs::create_dir_all(folder.join(".cargo"))?;
    let sdk = repository()?.join("guest-transforms/sdk");
    let manifest = format!(
        "[package]\nname = \"{NAME}\"\nversion = \"1.2.3\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\ntidemill-sdk = {{ path = {sdk:?} }}\n\n\
         [dev-dependencies]\ntidemill-sdk = {{ path = {sdk:?}, features = [\"testing\"] }}\n\n[workspace]\n"
    );
    let settings = format!(
        "[build]\ntarget-dir = {:?}\n\n[net]\noffline = true\n",
        target()?
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join(".cargo/config.toml"), settings)?;
    fs::write(folder.join("src/lib.rs"), code)?;
    fs::copy(repository()?.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

fn built(folder: &Path) -> Result<Built> {
    forget()?;
    let toolchain = Toolchain::new(|name| std::env::var_os(name)).adding_target(true);
    let workspace = Workspace::read(&toolchain, folder)?;
    let module = workspace.module_in(folder)?.clone();
    let built = build(&toolchain, &workspace, &[module])?;
    built.into_iter().next().context("it was built")
}

/// Removes what a build of the crate has left: without this, the second folder would be given the work of the first.
fn forget() -> Result<()> {
    let profile = target()?.join("wasm32-unknown-unknown/guest");
    for folder in ["", "deps", ".fingerprint"] {
        for entry in fs::read_dir(profile.join(folder)).into_iter().flatten() {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy().replace('_', "-");
            match name.trim_start_matches("lib").starts_with(NAME) {
                true if path.is_dir() => fs::remove_dir_all(path)?,
                true => fs::remove_file(path)?,
                false => {}
            }
        }
    }
    Ok(())
}

/// What was told of a build that failed.
fn failed(folder: &Path) -> Result<BuildError> {
    let error = built(folder).err().context("it was built")?;
    error.downcast().context("another error")
}

/// One test, because all of it is built in one folder.
#[test]
fn the_same_source_gives_the_same_module_in_every_folder_and_a_wrong_one_gives_none() -> Result<()>
{
    let (first_folder, other) = (folder()?, folder()?);
    let (one, deeper) = (first_folder.path(), other.path().join("a/deeper folder"));
    write(one, CODE)?;
    write(&deeper, CODE)?;
    let (first, second) = (built(one)?, built(&deeper)?);
    ensure!(first.component == second.component, "the bytes differ");

    let outline = Outline::read(&first.component)?;
    assert_eq!(outline.metadata, first.metadata);
    assert_eq!(outline.metadata.name.as_deref(), Some(NAME));
    assert_eq!(outline.metadata.version.as_deref(), Some("1.2.3"));
    assert!(outline.metadata.sdk.is_some() && outline.metadata.compiler.is_some());
    let home = std::env::home_dir().context("a home")?;
    for folder in [one, &repository()?, &home] {
        let name = folder.to_str().context("a name")?.as_bytes();
        let stands_in = first.component.windows(name.len()).any(|part| part == name);
        ensure!(!stands_in, "{} stands in it", folder.display());
    }

    write(one, "tidemill_sdk::export!(nothing);")?;
    let wrong = failed(one)?;
    assert_eq!(wrong.to_string(), "dim-elsewhere does not compile");
    write(one, "//! Exports nothing.")?;
    let empty = failed(one)?;
    assert!(matches!(empty, BuildError::NoModule { .. }), "{empty}");
    Ok(())
}

#[test]
fn a_folder_without_a_crate_is_told() -> Result<()> {
    let folder = folder()?;
    let toolchain = Toolchain::new(|name| std::env::var_os(name));
    let none = Workspace::read(&toolchain, folder.path()).err();
    let expected = format!("there is no Cargo.toml in {}", folder.path().display());
    assert_eq!(none.map(|error| error.to_string()), Some(expected));
    Ok(())
}

#[test]
fn a_missing_cargo_is_told_with_where_to_get_one() -> Result<()> {
    let folder = folder()?;
    fs::write(folder.path().join("Cargo.toml"), "[workspace]")?;
    let missing = |name: &str| (name == "CARGO").then(|| "cargo-that-is-not-there".into());
    let none = Workspace::read(&Toolchain::new(missing), folder.path()).err();
    let none = none.context("it was found")?;
    assert_eq!(
        none.to_string(),
        "there is no program `cargo-that-is-not-there`"
    );
    assert_eq!(
        none.hint().as_deref(),
        Some("install Rust from https://rustup.rs")
    );
    Ok(())
}
