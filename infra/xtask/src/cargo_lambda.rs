//! The runtime interface of AWS Lambda that the tests do not write themselves: cargo-lambda's, of a wheel.
//!
//! Rejected: AWS's own emulator, which is a program of Go that its module proxy does not give and releases of which would be
//! fetched past every registry; cargo-lambda from its crate, which takes twenty minutes to build. Its wheel wants Zig besides,
//! for building functions; nothing is built with it here, so it is installed alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::python;

/// The program, for whoever has it elsewhere.
pub(crate) const VARIABLE: &str = "TIDEMILL_CARGO_LAMBDA";
const VERSION: &str = "1.9.2";

/// The program, installed into `target/tools` when it is not there.
///
/// # Errors
/// When it is not there and cannot be installed.
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
    let folder = target.join(format!("tools/cargo-lambda-{VERSION}"));
    let wheel = format!("cargo-lambda=={VERSION}");
    let programs = python::environment(&folder, &["--no-deps"], &[&wheel]).with_context(|| {
        format!("cannot install {wheel}: install it another way and name the program in {VARIABLE}")
    })?;
    let program = programs.join("cargo-lambda");
    ensure!(
        program.is_file(),
        "{wheel} is installed and {} is missing",
        program.display()
    );
    Ok(program)
}
