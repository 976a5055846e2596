//! `cargo x bench [NAME…] [--rows N] [--days N] [--optimised]`: builds and runs the figures in `tests/bench`.
//!
//! In the dev profile, which demo, tests and daily work share: it makes the program that people have, and a
//! profile of its own would build everything below it anew. `--optimised` builds tidemill's own code as a release
//! would, which takes twice as long to compile. Only the SDK and the transforms are optimised fully here, because their components are, and a slow
//! native side would make the sandbox look good.

use anyhow::Result;

use crate::workspace::{Workspace, cargo, succeed};
use crate::{guests, minio, postgres, test};

/// What a release build changes for tidemill's own code.
const OPTIMISED: [&str; 3] = [
    "profile.dev.package.tidemill.opt-level=3",
    "profile.dev.package.tidemill.debug-assertions=false",
    "profile.dev.package.tidemill.overflow-checks=false",
];

/// Runs the benchmarks of these names, or all.
///
/// # Errors
/// When something does not build, or a benchmark fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let postgres = postgres::programs()?;
    guests::run()?;
    let workspace = Workspace::load()?;
    let is_optimised = arguments.contains(&"--optimised");
    let settings: &[&str] = if is_optimised { &OPTIMISED } else { &[] };
    let binary = test::binary(&workspace, settings)?;
    let mut bench = cargo();
    bench
        .current_dir(workspace.root())
        .args(["bench", "--locked", "--quiet", "--profile", "dev"])
        .args(["--package", "tidemill-tests", "--bench", "figures"])
        .env(postgres::VARIABLE, &postgres)
        .env(minio::VARIABLE, minio::program(workspace.target())?)
        .env("TIDEMILL_BIN", &binary);
    for member in workspace.members_below("guest-transforms") {
        let setting = format!("profile.dev.package.{member}.opt-level=3");
        bench.args(["--config", &setting]);
    }
    for setting in settings {
        bench.args(["--config", setting]);
    }
    let arguments = arguments
        .iter()
        .filter(|argument| **argument != "--optimised");
    succeed(bench.arg("--").args(arguments))
}
