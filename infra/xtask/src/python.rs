//! Environments of Python, for tools that come as wheels: pip checks them, and installs them without root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::debian;
use crate::workspace::succeed;

/// The folder of the programs of an environment with `wheels` in `folder`, which is made where it is not there or has others.
/// They are installed with what they depend on where `flags` of pip do not say otherwise.
///
/// # Errors
/// When there is no Python that makes environments and none can be installed, or a wheel cannot be had.
pub(crate) fn environment(folder: &Path, flags: &[&str], wheels: &[&str]) -> Result<PathBuf> {
    let programs = folder.join("bin");
    let marker = folder.join("wheels.txt");
    let wanted = wheels.join("\n");
    // Written at the end: one that was interrupted is made again.
    if fs::read_to_string(&marker).ok().as_deref() != Some(&wanted) {
        let mut make = Command::new(python()?);
        succeed(make.args(["-m", "venv", "--clear"]).arg(folder))?;
        let mut pip = Command::new(programs.join("pip"));
        succeed(
            pip.args(["install", "--quiet", "--no-input"])
                .args(flags)
                .args(wheels),
        )?;
        fs::write(&marker, wanted)?;
    }
    Ok(programs)
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
        let needed = "a Python 3 that makes environments is needed: install it";
        ensure!(debian::is_here(), "{needed}");
        ensure!(
            debian::is_root()?,
            "{needed}, or run `sudo apt-get install python3-venv`"
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
