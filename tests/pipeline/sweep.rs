//! What runs that died left behind is swept by the runs after them, and nothing else is.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use tidemill_tests::gate::{Fate, Gate};
use tidemill_tests::inventory::Inventory;
#[cfg(target_os = "linux")]
use tidemill_tests::project::Project;

use super::world::{At, Beginning, World};

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(target_os = "linux")]
#[tokio::test]
async fn orphans_of_killed_runs_are_swept_by_age() -> Result<()> {
    sweep_orphans(At::Folder).await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn orphans_of_killed_runs_are_swept_by_age_in_a_bucket() -> Result<()> {
    sweep_orphans(At::Bucket).await
}

#[cfg(target_os = "linux")]
async fn sweep_orphans(place: At) -> Result<()> {
    use tidemill_tests::points::Point;
    use tidemill_tests::siege::Siege;
    use tidemill_tests::trace::Side;

    let mut siege = Siege::begin(place, 5).await?;
    let orphans = siege.inventory.orphans();
    ensure!(orphans.is_empty(), "runs that end well leave {orphans:?}");
    for (point, nth) in [
        (Point::LandingManifest, 1),
        (Point::ProcessedManifest, 1),
        (Point::DeltaFile, 3),
        (Point::DeltaCommit, 4),
        (Point::Publication, 1),
    ] {
        siege.live().await?;
        let killed = siege.kill_at_point(point, nth, Side::Before).await?;
        ensure!(killed.is_some(), "the run did not pass: {point}");
    }
    siege.live().await?;
    siege.complete().await?;
    let young = siege.inventory.orphans();
    ensure!(young.len() > 10, "only {young:?}");

    // Whatever is there is a week older than it was.
    let drafts = drafts(&siege.world)?;
    ensure!(
        !drafts.is_empty() || place == At::Bucket,
        "a kill in the middle of a file leaves it"
    );
    let _gate = grow_old(&mut siege.world)?;
    siege.live().await?;
    siege.world.done(&["run"])?;
    siege
        .inventory
        .look_after(|path| young.contains(path) || drafts.contains(path) || is_unneeded(path))?;
    let left = siege.inventory.orphans();
    ensure!(left.is_empty(), "the next run leaves {left:?}");
    siege.world.evolution.run();
    siege.world.check().await?;
    let left = self::drafts(&siege.world)?;
    ensure!(left.is_empty(), "the next run leaves {left:?}");
    siege.live().await?;
    siege.end().await?;
    Ok(())
}

/// Data files of the warehouse that no version needs may go; the check of the star says whether one did.
fn is_unneeded(path: &str) -> bool {
    path.starts_with("warehouse/") && path.ends_with(".parquet")
}

#[tokio::test]
async fn by_hand_everything_is_looked_at_and_a_rehearsal_removes_nothing() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Folder)).await?;
    world.run().await?;
    world.live().await?;
    world.run().await?;
    let folder = world.project.path().to_owned();
    let stray =
        "lake/ingestion/totesys/staff/2026/01/01/20260101T000000000Z-00000000/part-00000.parquet";
    let kept = "lake/processed/dim_staff/2026/01/01/x/part-00000.parquet";
    for path in [stray, kept] {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().context("it has one")?)?;
        std::fs::write(path, "rows")?;
    }
    age(&folder.join(stray), 8 * DAY)?;
    let mut inventory = Inventory::of(&folder)?;
    let rehearsed = swept(&world, &["sweep", "--dry-run"])?;
    inventory.look()?;
    ensure!(
        inventory.orphans().contains(stray),
        "a rehearsal removes nothing"
    );
    ensure!(
        swept(&world, &["sweep"])? == rehearsed,
        "a rehearsal says what will be"
    );
    inventory.look_after(|path| path == stray)?;
    ensure!(
        inventory.orphans() == BTreeSet::from([kept.to_owned()]),
        "what is young stays"
    );
    ensure!(swept(&world, &["sweep"])?.is_empty(), "it was swept before");
    world.verify()?;
    world.live().await?;
    world.run().await?;
    Ok(())
}

/// The keys that were swept.
fn swept(world: &World, arguments: &[&str]) -> Result<BTreeSet<String>> {
    let report = world.done(arguments)?;
    let swept = report["swept"].as_array().context("a list")?;
    let keys = swept.iter().filter_map(|object| object["key"].as_str());
    Ok(keys.map(str::to_owned).collect())
}

/// A host that is slow in the middle of its run: it stands before its landing manifest while others sweep, and every
/// clock says that it began a week ago.
#[cfg(target_os = "linux")]
mod slow {
    use tidemill_tests::points::Point;
    use tidemill_tests::trace::{self, Traced};

    use super::*;

    /// A run that does `meanwhile` when everything is landed and nothing is committed.
    fn run(
        world: &World,
        mut meanwhile: impl FnMut(&Project) -> Result<()> + Send,
    ) -> Result<Traced> {
        let command = world.project.command(["run", "--output", "json"])?;
        let mut done = None;
        let project = &world.project;
        let traced = trace::run(&command, |call| {
            if done.is_none() && Point::of(call) == Some(Point::LandingManifest) {
                done = Some(meanwhile(project));
            }
            None
        })?;
        done.context("it did not come to its manifest")??;
        Ok(traced)
    }

    #[tokio::test]
    async fn a_slow_run_is_not_swept_while_it_may_commit() -> Result<()> {
        let mut world = World::begin(Beginning::at(At::Folder)).await?;
        world.run().await?;
        world.live().await?;
        let traced = run(&world, |project| {
            let mut inventory = Inventory::of(project.path())?;
            let is_object =
                |path: &String| !path.contains("/_begun/") && !path.contains("/_incomplete/");
            let written = inventory.orphans().into_iter().filter(is_object).count();
            ensure!(written > 5, "it has landed {written} objects");
            age(project.path(), 8 * DAY)?;
            let said = project.done(["sweep", "--output", "json"])?;
            let report: serde_json::Value = serde_json::from_str(&said)?;
            ensure!(report["kept"] == written, "{written} objects: {report:#}");
            inventory.look_after(is_unneeded)
        })?;
        ensure!(traced.code == Some(0), "{traced:#?}");
        world.evolution.run();
        world.check().await?;
        world.verify()?;
        Ok(())
    }

    /// What it wrote is nobody's, and it is told so.
    #[tokio::test]
    async fn what_a_slow_run_wrote_is_swept_once_another_has_its_number() -> Result<()> {
        let mut world = World::begin(Beginning::at(At::Folder)).await?;
        world.run().await?;
        world.live().await?;
        let traced = run(&world, |project| {
            let written = Inventory::of(project.path())?.orphans();
            age(project.path(), 8 * DAY)?;
            project.done(["run"])?;
            let left = Inventory::of(project.path())?.orphans();
            ensure!(
                !written.is_empty() && left.is_empty(),
                "of {written:?} it left {left:?}"
            );
            Ok(())
        })?;
        ensure!(traced.code == Some(1), "it lost and says so: {traced:#?}");
        ensure!(traced.stderr.contains("conflict"), "{traced:#?}");
        world.evolution.run();
        world.check().await?;
        world.live().await?;
        world.run().await?;
        let left = Inventory::of(world.project.path())?.orphans();
        ensure!(left.is_empty(), "it left {left:?}");
        world.verify()?;
        Ok(())
    }
}

/// Cost: an idle run lists what notes there are, and there are none.
#[tokio::test]
async fn a_run_that_ends_well_leaves_no_note() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Folder)).await?;
    world.run().await?;
    world.live().await?;
    let report = world.run().await?;
    ensure!(report["extract"][0]["swept"] == 0, "{report:#}");
    let notes: Vec<String> = world
        .files()?
        .into_iter()
        .filter(|path| path.contains("/_begun/") || path.contains("/_incomplete/"))
        .collect();
    ensure!(notes.is_empty(), "{notes:?}");
    Ok(())
}

/// Makes everything older by a week and a day: files by their own times, objects by a gate that lists them so.
fn grow_old(world: &mut World) -> Result<Option<Gate>> {
    let Some(lake) = &world.lake else {
        age(world.project.path(), 8 * DAY)?;
        return Ok(None);
    };
    let gate = Gate::before(lake.store.port())?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a store has the time of the machine that it is on"
    )]
    let now = Utc::now();
    gate.set(move |_| Fate::Age(now));
    world.project.set("AWS_ENDPOINT_URL_S3", &gate.endpoint());
    Ok(Some(gate))
}

/// Makes every file below `path` that much older.
fn age(path: &Path, by: Duration) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            age(&entry?.path(), by)?;
        }
        return Ok(());
    }
    let Ok(metadata) = std::fs::metadata(path) else {
        return Ok(());
    };
    let older: SystemTime = metadata.modified()? - by;
    Ok(File::options()
        .append(true)
        .open(path)?
        .set_modified(older)?)
}

/// Files that never got their name.
fn drafts(world: &World) -> Result<BTreeSet<String>> {
    let is_draft = |path: &String| {
        path.contains("/_incomplete/") || path.contains("/.draft-") || path.contains('#')
    };
    Ok(world.files()?.into_iter().filter(is_draft).collect())
}
