//! `cargo x demo [ARGUMENT…]`: builds tidemill with its modules and runs `tidemill demo`.

use std::process::Command;

use anyhow::Result;

use crate::workspace::{Workspace, succeed};
use crate::{guests, test};

/// Runs the demo in the folder it was called from, with `arguments`.
///
/// # Errors
/// When tidemill does not build, or the demo fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    guests::run()?;
    let binary = test::binary(&Workspace::load()?, &[])?;
    succeed(Command::new(binary).arg("demo").args(arguments))
}
