//! The compiler as a bundle's build calls it: what a crate asks of its own folder is the same on every machine.
//!
//! Paths that the compiler writes by itself are replaced by `--remap-path-prefix`. A crate that says
//! `env!("CARGO_MANIFEST_DIR")` has its folder below `CARGO_HOME` as a text, and code that depends on how long that is. So cargo
//! calls xtask in place of the compiler, and xtask calls the compiler with another folder for those crates. Rejected: the
//! same for all crates, because macros read files there; and a link at one path of every machine, of which two users of one
//! machine would each want their own.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Set where xtask is called as the compiler.
const ROLE: &str = "TIDEMILL_COMPILES";
/// Packages that have their folder in their code, for tests of their own, and read nothing there while they are compiled.
const PACKAGES: [&str; 1] = ["datafusion-common"];

/// Variables with which cargo calls this program in place of the compiler.
///
/// # Errors
/// When nobody knows where this program is.
pub(super) fn variables() -> Result<[(&'static str, OsString); 2]> {
    let program = env::current_exe().context("cannot tell where xtask is")?;
    Ok([("RUSTC_WRAPPER", program.into()), (ROLE, "1".into())])
}

/// Whether cargo has called this program in place of the compiler.
pub(crate) fn is_called() -> bool {
    env::var_os(ROLE).is_some()
}

/// Becomes the compiler that the first argument names; gives the reason where that fails.
pub(crate) fn run() -> anyhow::Error {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return anyhow::anyhow!("no compiler is named");
    };
    let mut compiler = Command::new(program);
    compiler.args(arguments);
    let package = env::var_os("CARGO_PKG_NAME").unwrap_or_default();
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    if PACKAGES.iter().any(|name| package == **name)
        && let Some(folder) = Path::new(&folder).file_name()
    {
        compiler.env("CARGO_MANIFEST_DIR", Path::new("/cargo").join(folder));
    }
    anyhow::Error::from(compiler.exec()).context("cannot run the compiler")
}
