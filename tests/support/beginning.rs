//! The beginning of a project, killed: `init` has not been here, or is completed by the next.

use anyhow::{Context as _, Result, ensure};

use super::project::Project;
use super::trace::{self, Kind, Side};

/// Kills `init --example totesys` before change `number`, calls it again, and runs the project; false where `init`
/// makes fewer changes.
///
/// # Errors
/// What the second `init`, or the run, did not survive.
pub fn kill_init(number: u64) -> Result<bool> {
    let project = Project::empty()?;
    let arguments = ["init", "--example", "totesys"];
    let mut made = 0;
    let traced = trace::run(&project.command(arguments)?, |call| {
        made += u64::from(counts(call.kind));
        (made > number).then_some(Side::Before)
    })?;
    let Some((call, _)) = traced.killed else {
        ensure!(traced.code == Some(0), "init failed: {traced:?}");
        return Ok(false);
    };
    let told = || format!("killed before change {number} of init, {call:?}");
    project.done(arguments).with_context(told)?;
    let before = std::fs::read_to_string(project.path().join("tidemill.toml"))?;
    let whole = Project::totesys(None, None)?;
    let wanted = std::fs::read_to_string(whole.path().join("tidemill.toml"))?;
    ensure!(
        before == wanted,
        "{}: the project file is\n{before}",
        told()
    );
    project.done(["run"]).with_context(told)?;
    project.done(["verify"]).with_context(told)?;
    Ok(true)
}

/// The database of the example is written page by page, and each page is no case of its own.
fn counts(kind: Kind) -> bool {
    kind != Kind::Write
}
