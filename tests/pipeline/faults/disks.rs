//! Disks that are full: the zone of modules.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use tidemill_tests::mounts::Mounts;
use tidemill_tests::project::Project;

/// Space that is enough for everything.
const ROOMY: u64 = 64 << 20;

#[tokio::test]
async fn modules_that_find_no_space_are_installed_when_there_is_some() -> Result<()> {
    let mounts = Arc::new(Mounts::new()?);
    let mut project = Project::empty()?;
    let zone: PathBuf = project.path().join("shop/lake/modules");
    mounts.disk(&zone, 3 << 20)?;
    project.enter(Arc::clone(&mounts));
    let arguments = ["init", "--example", "totesys", "shop"];
    let said = project.call(arguments)?;
    ensure!(said.code == Some(1), "{said:#?}");
    ensure!(
        said.stderr.contains("No space left on device")
            && said.stderr.contains("  hint: free some space"),
        "{said:#?}"
    );
    mounts.remount(&zone, &format!("size={ROOMY}"))?;
    project.done(arguments)?;
    project.done(["run", "--project", "shop"])?;
    Ok(())
}
