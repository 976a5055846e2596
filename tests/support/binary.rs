//! The `tidemill` binary that `cargo x test` built, and nothing older.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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
    for source in made_of(&path)? {
        let modified = std::fs::metadata(&source).and_then(|metadata| metadata.modified());
        ensure!(
            modified.is_ok_and(|modified| modified <= built),
            "{} is older than {}: run `cargo x test`",
            path.display(),
            source.display()
        );
    }
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

/// The files that cargo says it made a binary of: those of tests are not among them.
fn made_of(binary: &Path) -> Result<Vec<PathBuf>> {
    let list = binary.with_extension("d");
    let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let sources = text.split_once(": ").map(|(_, sources)| sources.trim_end());
    let sources = sources.with_context(|| format!("{} lists nothing", list.display()))?;
    // A blank within a path is written behind a backslash.
    let whole = sources.replace("\\ ", "\0");
    let paths = whole.split(' ').map(|path| path.replace('\0', " ").into());
    Ok(paths.collect())
}
