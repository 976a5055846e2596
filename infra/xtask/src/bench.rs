//! `cargo x bench [NAME…] [--rows N]`: builds and runs the figures in `tests/bench`.
//!
//! In the dev profile, which demo, tests and daily work share: a profile of its own would build everything below
//! it anew. Only the SDK and the transforms are optimised fully here, because their components are, and a slow
//! native side would make the sandbox look good.

use anyhow::Result;

use crate::workspace::{Workspace, cargo, succeed};
use crate::{guests, postgres, test};

/// Runs the benchmarks of these names, or all.
///
/// # Errors
/// When something does not build, or a benchmark fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let postgres = postgres::programs()?;
    guests::run()?;
    let workspace = Workspace::load()?;
    let binary = test::binary(&workspace)?;
    let mut bench = cargo();
    bench
        .current_dir(workspace.root())
        .args(["bench", "--locked", "--quiet", "--profile", "dev"])
        .args(["--package", "tidemill-tests", "--bench", "figures"])
        .env(postgres::VARIABLE, &postgres)
        .env("TIDEMILL_BIN", &binary);
    for member in workspace.members_below("guest-transforms") {
        let setting = format!("profile.dev.package.{member}.opt-level=3");
        bench.args(["--config", &setting]);
    }
    succeed(bench.arg("--").args(arguments))
}
