//! A module of a crate outside of this repository, built by the real cargo and rustc.

use std::fs;
use std::path::{Path, PathBuf};

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
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// An empty folder, outside of this repository.
fn folder(name: &str) -> PathBuf {
    let name = format!("tidemill-component-{}-{name}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The target folder of this test, in which the modules of this repository were built: Arrow is there already.
fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    profile.parent().unwrap().to_owned()
}

/// A crate in `folder`, which takes the SDK from this repository, and all else in the versions of this repository.
fn write(folder: &Path, code: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::create_dir_all(folder.join(".cargo")).unwrap();
    let sdk = repository().join("guest-transforms/sdk");
    let manifest = format!(
        "[package]\nname = \"{NAME}\"\nversion = \"1.2.3\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\ntidemill-sdk = {{ path = {sdk:?} }}\n\n[workspace]\n"
    );
    let settings = format!(
        "[build]\ntarget-dir = {:?}\n\n[net]\noffline = true\n",
        target()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join(".cargo/config.toml"), settings).unwrap();
    fs::write(folder.join("src/lib.rs"), code).unwrap();
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

fn built(folder: &Path) -> Result<Built, BuildError> {
    forget();
    let toolchain = Toolchain::new(|name| std::env::var_os(name)).adding_target(true);
    let workspace = Workspace::read(&toolchain, folder)?;
    let module = workspace.module_in(folder)?.clone();
    Ok(build(&toolchain, &workspace, &[module])?.remove(0))
}

/// Removes what a build of the crate has left: without this, the second folder would be given the work of the first.
fn forget() {
    let profile = target().join("wasm32-unknown-unknown/guest");
    for folder in ["", "deps", ".fingerprint"] {
        for entry in fs::read_dir(profile.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .replace('_', "-");
            match name.trim_start_matches("lib").starts_with(NAME) {
                true if path.is_dir() => fs::remove_dir_all(path).unwrap(),
                true => fs::remove_file(path).unwrap(),
                false => {}
            }
        }
    }
}

/// One test, because all of it is built in one folder.
#[test]
fn the_same_source_gives_the_same_module_in_every_folder_and_a_wrong_one_gives_none() {
    let (one, other) = (folder("one"), folder("other"));
    let deeper = other.join("a/deeper folder");
    write(&one, CODE);
    write(&deeper, CODE);
    let (first, second) = (built(&one).unwrap(), built(&deeper).unwrap());
    assert!(first.component == second.component, "the bytes differ");

    let outline = Outline::read(&first.component).unwrap();
    assert_eq!(outline.metadata, first.metadata);
    assert_eq!(outline.metadata.name.as_deref(), Some(NAME));
    assert_eq!(outline.metadata.version.as_deref(), Some("1.2.3"));
    assert!(outline.metadata.sdk.is_some() && outline.metadata.compiler.is_some());
    let home = std::env::home_dir().unwrap();
    for folder in [&one, &repository(), &home] {
        let name = folder.to_str().unwrap().as_bytes();
        let stands_in = first.component.windows(name.len()).any(|part| part == name);
        assert!(!stands_in, "{} stands in it", folder.display());
    }

    write(&one, "tidemill_sdk::export!(nothing);");
    let wrong = built(&one).unwrap_err();
    assert_eq!(wrong.to_string(), "dim-elsewhere does not compile");
    write(&one, "//! Exports nothing.");
    let empty = built(&one).unwrap_err();
    assert!(matches!(empty, BuildError::NoModule { .. }), "{empty}");
}

#[test]
fn a_folder_without_a_crate_is_told() {
    let folder = folder("nothing");
    let toolchain = Toolchain::new(|name| std::env::var_os(name));
    let none = Workspace::read(&toolchain, &folder).unwrap_err();
    let expected = format!("there is no Cargo.toml in {}", folder.display());
    assert_eq!(none.to_string(), expected);
}

#[test]
fn a_missing_cargo_is_told_with_where_to_get_one() {
    let folder = folder("unbuilt");
    fs::write(folder.join("Cargo.toml"), "[workspace]").unwrap();
    let missing = |name: &str| (name == "CARGO").then(|| "cargo-that-is-not-there".into());
    let none = Workspace::read(&Toolchain::new(missing), &folder).unwrap_err();
    assert_eq!(
        none.to_string(),
        "there is no program `cargo-that-is-not-there`"
    );
    assert_eq!(
        none.hint().as_deref(),
        Some("install Rust from https://rustup.rs")
    );
}
