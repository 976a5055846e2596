//! Programs that Python's registry has: installed into environments of their own below `target/tools`, by version.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::debian;
use crate::workspace::succeed;

/// Makes an environment with these packages, and what they depend on where `flags` do not say otherwise.
///
/// # Errors
/// When there is no Python that can, with what to install.
pub(crate) fn environment(folder: &Path, flags: &[&str], packages: &[&str]) -> Result<()> {
    succeed(
        Command::new(python()?)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    succeed(
        Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--no-input"])
            .args(flags)
            .args(packages),
    )
}

/// A Python that makes environments.
fn python() -> Result<&'static str> {
    let makes_environments = || {
        let call = Command::new("python3")
            .args(["-c", "import ensurepip, venv"])
            .output();
        call.is_ok_and(|output| output.status.success())
    };
    if !makes_environments() {
        let otherwise = "python3 with its module venv gets tools of the tests: install it";
        ensure!(debian::is_here(), "{otherwise}");
        ensure!(
            debian::is_root()?,
            "{otherwise}: run `sudo apt-get install python3-venv`"
        );
        let install = [
            "install",
            "--yes",
            "--no-install-recommends",
            "python3-venv",
        ];
        debian::with_lists(|| debian::apt_get(&install))?;
    }
    Ok("python3")
}
