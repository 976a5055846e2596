//! `cargo x fix`: what of `cargo x check` a machine can mend.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{fuzz, guests};

/// Applies clippy's suggestions to everything, then formats it.
///
/// # Errors
/// When the code does not compile.
pub(crate) fn run() -> Result<()> {
    guests::run()?;
    let workspace = Workspace::load()?;
    for selection in [
        &["--workspace", "--exclude", "xtask"][..],
        &["--package", "xtask"],
    ] {
        let mut arguments = vec![
            "clippy",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
            "--all-targets",
        ];
        arguments.extend(selection);
        workspace.cargo(&arguments)?;
    }
    workspace.cargo(&["fmt", "--all"])?;
    fuzz::format(workspace.root(), &[])
}
