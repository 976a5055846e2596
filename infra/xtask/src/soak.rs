//! `cargo x soak [SUITE…] [--kills N] [--seed S] [--minutes M]`: builds and runs the suites in `tests/soak`.
//!
//! In the dev profile, as the figures of `cargo x bench`: what is killed is the binary that the tests have, too.

use anyhow::Result;

use crate::workspace::{Workspace, cargo, succeed};
use crate::{guests, postgres, test};

/// Runs the suites of these names, or all.
///
/// # Errors
/// When something does not build, or a case is not survived.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let postgres = postgres::programs()?;
    guests::run()?;
    let workspace = Workspace::load()?;
    let binary = test::binary(&workspace, &[])?;
    let mut soak = cargo();
    soak.current_dir(workspace.root())
        .args(["bench", "--locked", "--quiet", "--profile", "dev"])
        .args(["--package", "tidemill-tests", "--bench", "soak", "--"])
        .args(arguments)
        .env(postgres::VARIABLE, &postgres)
        .env("TIDEMILL_BIN", &binary);
    succeed(&mut soak)
}
