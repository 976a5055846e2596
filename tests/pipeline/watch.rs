//! What is told of runs: figures, log lines and health, from the program as it is run in a container.

mod figures;
mod health;
mod lines;
mod stop;

use anyhow::Result;
use tidemill_tests::project::Project;

/// A company on disk whose `serve` runs at once, and then not for an hour.
fn shop(more: &str) -> Result<Project> {
    let project = Project::totesys(None, None)?;
    let file = project.path().join("tidemill.toml");
    let text = std::fs::read_to_string(&file)?;
    let serve = "[serve]\nlisten = \"127.0.0.1:0\"\n[schedule.hourly]\nevery = \"1h\"\n";
    std::fs::write(&file, format!("{text}\n{serve}{more}"))?;
    Ok(project)
}
