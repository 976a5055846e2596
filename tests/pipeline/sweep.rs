//! What runs that died left behind is swept by the runs after them, and nothing else is.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use tidemill_tests::inventory::Inventory;
use tidemill_tests::postgres::{connect, database_of};
use tidemill_tests::project::Said;

use super::world::{At, Beginning, World, report_of};

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(target_os = "linux")]
#[tokio::test]
async fn orphans_of_killed_runs_are_swept_by_age() -> Result<()> {
    use tidemill_tests::points::Point;
    use tidemill_tests::siege::Siege;
    use tidemill_tests::trace::Side;

    let mut siege = Siege::begin(At::Folder, 5).await?;
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
    let folder = siege.world.project.path().to_owned();
    let drafts = drafts(&folder)?;
    ensure!(
        !drafts.is_empty(),
        "a kill in the middle of a file leaves it"
    );
    age(&folder, 8 * DAY)?;
    siege.live().await?;
    siege.world.done(&["run"])?;
    siege
        .inventory
        .look_after(|path| young.contains(path) || drafts.contains(path) || is_unneeded(path))?;
    let left = siege.inventory.orphans();
    ensure!(left.is_empty(), "the next run leaves {left:?}");
    siege.world.evolution.run();
    siege.world.check().await?;
    let left: Vec<String> = self::drafts(&folder)?.into_iter().collect();
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

/// A host is slow in the middle of its run while others sweep, and every clock says that it began a week ago.
#[tokio::test]
async fn a_slow_run_is_not_swept_while_it_may_commit() -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse: At::Folder,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run().await?;
    world.live().await?;
    let folder = world.project.path().to_owned();
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let slow = spawn(&world)?;
    wait_for_waiting(&world.source).await?;
    let mut inventory = Inventory::of(&folder)?;
    let written = inventory.orphans();
    ensure!(!written.is_empty(), "it has landed objects by now");
    age(&folder, 8 * DAY)?;
    let report = world.done(&["sweep"])?;
    let unfinished = |path: &str| path.contains("/_incomplete/");
    let expected = written.len();
    ensure!(
        report["kept"].as_u64() == Some(expected as u64),
        "{expected} objects: {report:#}"
    );
    inventory.look_after(|path| unfinished(path) || is_unneeded(path))?;
    lock.batch_execute("ROLLBACK").await?;
    let said = end(slow)?;
    ensure!(said.code == Some(0), "{said:#?}");
    world.evolution.run();
    world.check().await?;
    world.verify()?;
    Ok(())
}

/// As before, and another host has committed meanwhile: what the slow one wrote is nobody's, and it is told so.
#[tokio::test]
async fn what_a_slow_run_wrote_is_swept_once_another_has_its_number() -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse: At::Folder,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run().await?;
    world.live().await?;
    let folder = world.project.path().to_owned();
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let slow = spawn(&world)?;
    wait_for_waiting(&world.source).await?;
    let written = Inventory::of(&folder)?.orphans();
    age(&folder, 8 * DAY)?;
    // The other host does not want the locked table.
    world.done(&["run", "--table", "sales_order"])?;
    let left = Inventory::of(&folder)?.orphans();
    let left: Vec<&String> = written.iter().filter(|path| left.contains(*path)).collect();
    ensure!(left.is_empty(), "it left {left:?}");
    lock.batch_execute("ROLLBACK").await?;
    let said = end(slow)?;
    ensure!(said.code == Some(1), "it lost and says so: {said:#?}");
    ensure!(said.stderr.contains("conflict"), "{said:#?}");
    world.run().await?;
    let left = Inventory::of(&folder)?.orphans();
    ensure!(left.is_empty(), "it left {left:?}");
    world.verify()?;
    Ok(())
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

fn spawn(world: &World) -> Result<std::process::Child> {
    let mut command = world.project.command(["run", "--output", "json"])?;
    Ok(command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

fn end(child: std::process::Child) -> Result<Said> {
    let output = child.wait_with_output()?;
    let said = Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    };
    if said.code == Some(0) {
        report_of(&said)?;
    }
    Ok(said)
}

/// Waits until a session of tidemill waits for a locked table, and the other tables are landed.
async fn wait_for_waiting(database: &str) -> Result<()> {
    let client = connect(database).await?;
    let sql = "SELECT count(*) FILTER (WHERE wait_event_type = 'Lock') > 0 \
                  AND count(*) FILTER (WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock') = 0 \
               FROM pg_stat_activity WHERE application_name = 'tidemill' AND datname = $1";
    let begin = Instant::now();
    let mut quiet = 0;
    // Sessions are idle between two tables as well.
    while quiet < 50 {
        let row = client.query_one(sql, &[&database_of(database)]).await?;
        quiet = if row.get::<_, bool>(0) { quiet + 1 } else { 0 };
        ensure!(
            begin.elapsed() < Duration::from_secs(60),
            "no session waits for the locked table"
        );
    }
    Ok(())
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
fn drafts(folder: &Path) -> Result<BTreeSet<String>> {
    let mut drafts = BTreeSet::new();
    let mut folders = vec![folder.join("lake"), folder.join("warehouse")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let path = path.strip_prefix(folder)?.display().to_string();
            if path.contains("/_incomplete/") || path.contains("/.draft-") || path.contains('#') {
                drafts.insert(path);
            }
        }
    }
    Ok(drafts)
}
