//! The modules under `guest-transforms/`, found by walking, with the components that `cargo x guests` made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::binary::workspace;

/// The variable that names the folder of the components; the build of the program reads it, too.
const GUESTS: &str = "TIDEMILL_GUESTS";

/// A module: its crate, its component, its cases.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its name, which is that of its folder: `dim-staff`.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// Its cases, in the order of their names.
    pub cases: Vec<PathBuf>,
}

/// Every module of one warehouse (`totesys`), in the order of their names.
///
/// # Errors
/// When there is a component without a crate or the other way round; the message says what to run.
pub fn all(warehouse: &str) -> Result<Vec<Guest>> {
    let crates = workspace().join("guest-transforms").join(warehouse);
    let mut guests = Vec::new();
    let mut components = components(&components_folder()?)?;
    for folder in entries(&crates)? {
        if !folder.join("Cargo.toml").is_file() {
            continue;
        }
        let name = name(&folder);
        let Some(component) = components.remove(&name) else {
            bail!("{name} has no component: run `cargo x guests`");
        };
        guests.push(Guest {
            component: std::fs::read(&component)
                .with_context(|| component.display().to_string())?,
            cases: cases(&folder.join("cases"))?,
            name,
        });
    }
    ensure!(
        !guests.is_empty(),
        "there is no module in {}",
        crates.display()
    );
    Ok(guests)
}

/// The component in `tests/guests/hostile`.
///
/// # Errors
/// When it is not built; the message says what to run.
pub fn hostile() -> Result<Vec<u8>> {
    of_tests("hostile")
}

/// The component of a module under `tests/guests/`.
///
/// # Errors
/// When it is not built; the message says what to run.
pub fn of_tests(name: &str) -> Result<Vec<u8>> {
    let test = std::env::current_exe().context("this test does not know where it is")?;
    let file = test
        .ancestors()
        .map(|folder| folder.join("test-guests").join(format!("{name}.wasm")))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("the module {name} is not built as a component: run `cargo x guests`")
        })?;
    std::fs::read(&file).with_context(|| file.display().to_string())
}

/// The files of a folder of cases; none where there is no such folder.
fn cases(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut cases = entries(folder)?;
    cases.retain(|file| has_extension(file, "json"));
    Ok(cases)
}

/// The components of a folder by the names of their modules.
fn components(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let files = entries(folder)?;
    let components = files.into_iter().filter(|file| has_extension(file, "wasm"));
    Ok(components.map(|file| (name(&file), file)).collect())
}

/// The folder that the environment names, else `guests` in the target folder in which this test lies.
fn components_folder() -> Result<PathBuf> {
    if let Some(folder) = super::variable(GUESTS) {
        ensure!(
            folder.is_dir(),
            "{GUESTS} names {}, which is no folder: run `cargo x guests`",
            folder.display()
        );
        return Ok(folder);
    }
    let test = std::env::current_exe().context("this test does not know where it is")?;
    test.ancestors()
        .map(|folder| folder.join("guests"))
        .find(|folder| folder.join("index.json").is_file())
        .context("the modules are not built as components: run `cargo x guests`")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn has_extension(file: &Path, wanted: &str) -> bool {
    file.extension()
        .is_some_and(|extension| extension == wanted)
}

fn name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
