//! Debian's packages, for what the tests need and cargo cannot give.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::workspace::succeed;

/// Whether this is a Debian.
pub(crate) fn is_here() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

pub(crate) fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .context("cannot run id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Gets something of a package. A fresh image has no list of packages, and an old list names files that are gone: both
/// are mended by fetching the list, which is tried twice because mirrors change under it.
pub(crate) fn with_lists(get: impl Fn() -> Result<()>) -> Result<()> {
    if get().is_ok() {
        return Ok(());
    }
    apt_get(&["update"]).or_else(|_| apt_get(&["update"]))?;
    get()
}

pub(crate) fn apt_get(arguments: &[&str]) -> Result<()> {
    succeed(&mut apt_get_in(Path::new("."), arguments))
}

/// A call of apt-get in a folder, where it leaves what it downloads.
pub(crate) fn apt_get_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .current_dir(folder)
        .args(arguments)
        .arg("--quiet")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}
