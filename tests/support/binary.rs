//! The `tidemill` binary that `cargo x test` built, and nothing older.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

/// The variable by which `cargo x test` names the binary.
const BINARY: &str = "TIDEMILL_BIN";

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The binary, looked at once: what is edited while tests run is for the next.
///
/// # Errors
/// When it is not there or older than the code it is made of; the message says what to run.
pub fn path() -> Result<PathBuf> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = FOUND.get() {
        return Ok(path.clone());
    }
    let path = look()?;
    Ok(FOUND.get_or_init(|| path).clone())
}

fn look() -> Result<PathBuf> {
    let path = match super::variable(BINARY) {
        Some(path) => path,
        None => beside_this_test()?,
    };
    let built = std::fs::metadata(&path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("{} is missing: run `cargo x test`", path.display()))?;
    let newest = newest_below(&workspace().join("host/src"))?;
    ensure!(
        newest <= built,
        "{} is older than host/src: run `cargo x test`",
        path.display()
    );
    Ok(path)
}

/// A call of the binary whose environment holds nothing of the person who runs the tests.
///
/// # Errors
/// As [`path`].
pub fn command() -> Result<Command> {
    let mut command = Command::new(path()?);
    command.env_clear();
    for kept in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    Ok(command)
}

/// Tests are in `target/<profile>/deps/`, binaries one folder above.
fn beside_this_test() -> Result<PathBuf> {
    let test = std::env::current_exe().context("this test does not know where it is")?;
    let profile = test.parent().and_then(Path::parent);
    let profile = profile.context("this test is not in a target folder")?;
    Ok(profile.join(format!("tidemill{}", std::env::consts::EXE_SUFFIX)))
}

fn newest_below(folder: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let modified = if entry.file_type()?.is_dir() {
            newest_below(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        newest = newest.max(modified);
    }
    Ok(newest)
}
