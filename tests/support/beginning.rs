//! The beginning of a project, killed: `init` has not been here, or is completed by the next.

use anyhow::{Context as _, Result, ensure};

use super::points::Point;
use super::project::Project;
use super::trace::{self, Call, Kind, Side};
use super::world::Lake;

/// Kills `init --example totesys` before change `number`, calls it again, and runs the project; false where `init`
/// makes fewer changes. Zones and warehouse are in the project's folder, or in a bucket.
///
/// # Errors
/// What the second `init`, or the run, did not survive.
pub fn kill_init(number: u64, lake: Option<&Lake>) -> Result<bool> {
    let mut project = Project::empty()?;
    if let Some(lake) = lake {
        for (name, value) in lake.environment() {
            project.set(&name, &value);
        }
        project.set("WAREHOUSE_URL", &lake.warehouse());
    }
    let arguments = ["init", "--example", "totesys"];
    let mut made = 0;
    let traced = trace::run(&project.command(arguments)?, |call| {
        made += u64::from(counts(call));
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

/// Kills `init` on every side of the first entry that it makes in the cache of compiled modules, which begins empty.
/// Gives how many kills there were.
///
/// # Errors
/// What the last `init`, which is let to its end, or the run did not survive.
pub fn kill_compiling() -> Result<u64> {
    let cache = tempfile::tempdir()?;
    let mut killed = 0;
    for side in [Side::Before, Side::During, Side::After] {
        let project = Project::empty()?;
        let mut command = project.command(["init", "--example", "totesys"])?;
        command.env("TIDEMILL_CACHE", cache.path().join("cache"));
        let traced = trace::run(&command, |call| {
            (Point::of(call) == Some(Point::CompiledModule)).then_some(side)
        })?;
        ensure!(traced.killed.is_some(), "nothing was compiled: {traced:?}");
        killed += 1;
    }
    let mut project = Project::empty()?;
    let folder = cache.path().join("cache");
    project.set(
        "TIDEMILL_CACHE",
        folder.to_str().context("a temporary path is UTF-8")?,
    );
    for arguments in [&["init", "--example", "totesys"][..], &["run"], &["verify"]] {
        project
            .done(arguments)
            .context("after kills where compiled code is kept")?;
    }
    Ok(killed)
}

/// The database of the example is written page by page, and each page is no case of its own.
fn counts(call: &Call) -> bool {
    call.kind != Kind::Write || !call.target.contains(".sqlite")
}
