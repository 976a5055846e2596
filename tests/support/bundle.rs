//! `cargo x bundle`, as the tests call it: for the program that they test.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::binary;

/// The variable by which `cargo x test` names itself.
const XTASK: &str = "TIDEMILL_XTASK";

/// Bundles the program of the tests for `target` into the folder `out`; gives what was said.
///
/// # Errors
/// With everything that was said, when it cannot be made.
pub fn make(
    target: &str,
    out: &Path,
    more: &[&str],
    variables: &[(String, String)],
) -> Result<String> {
    let xtask = super::variable(XTASK);
    let xtask = xtask.context("run the tests with `cargo x test`: it bundles, too")?;
    let output = Command::new(xtask)
        .current_dir(binary::workspace())
        .args(["bundle", "--target", target, "--profile", "dev"])
        .arg("--program")
        .arg(binary::path()?)
        .arg("--out")
        .arg(out)
        .args(more)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{stderr}");
    Ok(said)
}
