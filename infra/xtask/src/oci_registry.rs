//! The OCI registry that the tests start: found, or unpacked from Debian's package where that can be done without asking.
//!
//! The package is unpacked into the target folder and not installed: installing it would start a registry that all the
//! network can write to, and would need root. The tests start and stop it in temporary folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::debian;
use crate::workspace::succeed;

/// The program, for whoever has it elsewhere.
pub(crate) const VARIABLE: &str = "TIDEMILL_OCI_REGISTRY";
/// The release that the tests are written against, as Debian 12 and 13 have it.
const PACKAGE: &str = "docker-registry=2.8.*";
/// Where Debian's package puts the program.
const DEBIAN: &str = "usr/bin/docker-registry";
/// What the program says of its version: the CNCF's Distribution by its old name.
const SAYS: &str = "github.com/docker/distribution";

/// The program; one that is unpacked goes below `target`.
///
/// # Errors
/// When there is none and it cannot be had, with what to install.
pub(crate) fn program(target: &Path) -> Result<PathBuf> {
    if let Some(program) = std::env::var_os(VARIABLE) {
        let program = PathBuf::from(program);
        ensure!(
            program.is_file(),
            "{VARIABLE} names {}, which is no program",
            program.display()
        );
        return Ok(program);
    }
    let folder = target.join("docker-registry");
    for place in [Path::new("/"), &folder] {
        let program = place.join(DEBIAN);
        if is_registry(&program) {
            return Ok(program);
        }
    }
    ensure!(
        debian::is_here(),
        "the tests need Distribution 2.8, an OCI registry, and this is no Debian: install it and name the program in \
         {VARIABLE}"
    );
    unpack(&folder).with_context(|| {
        format!(
            "cannot download {PACKAGE}: run `sudo apt-get update` and try again, or install an OCI registry another way \
             and name the program in {VARIABLE}"
        )
    })?;
    let program = folder.join(DEBIAN);
    match is_registry(&program) {
        true => Ok(program),
        false => bail!("{} does not run on this machine", program.display()),
    }
}

fn is_registry(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(SAYS))
}

/// Unpacks the package into `folder`, which is there whole or not at all.
fn unpack(folder: &Path) -> Result<()> {
    let draft = folder.with_extension(std::process::id().to_string());
    let made = unpack_into(&draft).and_then(|()| {
        let moved = fs::rename(draft.join("unpacked"), folder);
        moved.with_context(|| format!("cannot make {}", folder.display()))
    });
    // What stays in the target folder does no harm.
    let _ = fs::remove_dir_all(&draft);
    made
}

fn unpack_into(draft: &Path) -> Result<()> {
    fs::create_dir_all(draft).with_context(|| format!("cannot make {}", draft.display()))?;
    let download = || succeed(&mut debian::apt_get_in(draft, &["download", PACKAGE]));
    debian::with_lists(download)?;
    let mut entries = fs::read_dir(draft)?.filter_map(Result::ok);
    let package = entries.find(|entry| entry.path().extension().is_some_and(|e| e == "deb"));
    let package = package.context("apt-get downloaded no package")?.path();
    succeed(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(package)
            .arg(draft.join("unpacked")),
    )
}
