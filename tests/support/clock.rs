//! A host whose clock is wrong: a library that is loaded before the program's own and answers for the clock.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/support/clock.c");

/// Compiles the library into `folder` and gives the variables by which a program's clock is `seconds` off.
///
/// # Errors
/// When there is no C compiler, which building tidemill needs as well.
pub fn off_by(seconds: i64, folder: &Path) -> Result<[(String, String); 2]> {
    let library = folder.join("clock.so");
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library);
    let output = compile.arg(SOURCE).output().context("cc cannot be run")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cc failed: {talk}");
    Ok([
        ("LD_PRELOAD".into(), library.display().to_string()),
        ("TIDEMILL_TEST_CLOCK".into(), seconds.to_string()),
    ])
}
