//! Disks that are full or read-only: each zone, the cache of compiled modules, the embedded warehouse.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tidemill_tests::mounts::Mounts;
use tidemill_tests::project::Project;

use super::Story;
use tidemill_tests::world::{At, Beginning, World};

/// Space that is enough for everything.
const ROOMY: u64 = 64 << 20;

/// What is left of a disk that fills up: a few objects, not all.
const LITTLE: u64 = 8 << 10;

#[tokio::test]
async fn a_disk_that_fills_up_or_turns_read_only_costs_a_run_and_nothing_else() -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse: At::Folder,
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let mounts = Arc::new(Mounts::new()?);
    let folder = |name: &str| world.project.path().join(name);
    let folders = ["lake/ingestion", "lake/processed", "warehouse"].map(folder);
    for folder in &folders {
        mounts.disk(folder, ROOMY)?;
    }
    world.project.enter(Arc::clone(&mounts));
    let mut story = Story::of("disks");
    let [ingestion, processed, warehouse] = &folders;

    for (disk, name, stage) in [
        (ingestion, "the ingestion zone", "extract"),
        (processed, "the processed zone", "transform"),
        (warehouse, "the embedded warehouse", "load"),
    ] {
        let fault = format!("the disk of {name} is full");
        mounts.leave(disk, LITTLE)?;
        fails(&mut world, &mut story, &fault, stage).await?;
        mounts.remount(disk, &format!("size={ROOMY}"))?;
        healed(&mut world, &mounts, &fault).await?;

        let fault = format!("{name} is read-only");
        world.live().await?;
        mounts.remount(disk, "ro")?;
        fails(&mut world, &mut story, &fault, stage).await?;
        mounts.remount(disk, "rw")?;
        healed(&mut world, &mounts, &fault).await?;
        // For the next disk.
        world.live().await?;
    }
    healed(&mut world, &mounts, "the disks").await?;
    world.verify()?;
    cache(&mut world, &mut story, &mounts)?;
    story.end()
}

/// The plain next run. The warehouse is compared in a copy, for only the program sees its disk.
async fn healed(world: &mut World, mounts: &Mounts, fault: &str) -> Result<()> {
    world
        .done(&["run"])
        .with_context(|| format!("the run after: {fault}"))?;
    world.evolution.run();
    let seen = world.project.path().join("warehouse");
    // The folder itself stays: to remove what something is mounted on elsewhere would unmount it there.
    let copy = Command::new("sh")
        .args(["-c", "rm -rf \"$2\"/* && cp -a \"$1\"/. \"$2\"/", "sh"])
        .args([mounts.path(&seen), seen])
        .output()?;
    ensure!(copy.status.success(), "{copy:?}");
    world
        .check()
        .await
        .with_context(|| format!("the run after: {fault}"))
}

async fn fails(
    world: &mut World,
    story: &mut Story,
    fault: &str,
    stage: &'static str,
) -> Result<()> {
    let said = super::failed(world, &["run"])?;
    story.tell_any_table(world, fault, &["run"], &said, stage);
    Ok(())
}

/// Compiled code that cannot be kept costs time only.
fn cache(world: &mut World, story: &mut Story, mounts: &Mounts) -> Result<()> {
    let cache = world.project.path().join("cache");
    mounts.disk(&cache, ROOMY)?;
    let setting = format!("cache={}/tidemill", cache.display());
    let arguments = ["preview", "dim_payment_type", "--set", &setting];
    mounts.leave(&cache, LITTLE)?;
    let said = world.project.call(arguments)?;
    ensure!(said.code == Some(0), "a preview needs no cache: {said:#?}");
    ensure!(
        said.stderr.contains("compiled module is not kept"),
        "somebody should know: {said:#?}"
    );
    mounts.remount(&cache, "ro")?;
    let said = super::failed(world, &arguments)?;
    let shown = [
        "preview",
        "dim_payment_type",
        "--set",
        "cache=[folder]/cache/tidemill",
    ];
    story.tell(
        world,
        "the folder of compiled modules is read-only",
        &shown,
        &said,
    );
    Ok(())
}

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
