//! Two hosts that run the same project at the same time.

use anyhow::{Context, Result, ensure};
use tidemill_tests::host::{Host, is_conflict};
use tidemill_tests::postgres::connect;
use tidemill_tests::sessions;

use super::world::{At, Beginning, World, report_of};

#[tokio::test]
async fn of_two_hosts_with_an_embedded_warehouse_one_wins() -> Result<()> {
    race(At::Folder).await
}

#[tokio::test]
async fn of_two_hosts_in_a_bucket_one_wins() -> Result<()> {
    race(At::Bucket).await
}

#[tokio::test]
async fn of_two_hosts_with_a_warehouse_on_postgres_one_wins() -> Result<()> {
    race(At::Postgres).await
}

async fn race(warehouse: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse,
        lake: warehouse,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run().await?;
    world.live().await?;
    // Both must have read the newest landing before either commits the next: a table that cannot be read
    // holds them until both are there.
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let one = start(&world, "run")?;
    sessions::waiting_for_a_lock(&world.source, 1).await?;
    let other = start(&world, "run")?;
    sessions::waiting_for_a_lock(&world.source, 2).await?;
    lock.batch_execute("ROLLBACK").await?;
    let mut said = [one.end()?, other.end()?];
    said.sort_by_key(|said| said.code);
    let [won, lost] = said;
    ensure!(won.code == Some(0), "nobody won: {won:#?} {lost:#?}");
    is_conflict(&lost)?;
    ensure!(report_of(&won)?["extract"][0]["landing"] == 2, "{won:#?}");
    world.evolution.run();
    world.check().await.context("after the race")?;
    world.live().await?;
    let report = world.run().await.context("the run after the race")?;
    ensure!(report["extract"][0]["landing"] == 3, "{report:#}");
    world.verify()?;
    Ok(())
}

#[tokio::test]
async fn while_one_host_loads_into_postgres_the_other_is_told_so() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Postgres)).await?;
    world.run().await?;
    world.live().await?;
    world.done(&["extract"])?;
    world.done(&["transform"])?;
    let lock = connect(&world.star).await?;
    lock.batch_execute("BEGIN; LOCK TABLE fact_payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let loading = start(&world, "load")?;
    sessions::waiting_for_a_lock(&world.star, 1).await?;
    is_conflict(&world.call(&["load"])?)?;
    lock.batch_execute("ROLLBACK").await?;
    let won = loading.end()?;
    ensure!(won.code == Some(0), "{won:#?}");
    let report = world.run().await?;
    let loaded = report["load"]["landings"].as_array().map(Vec::len);
    ensure!(
        loaded.is_some_and(|landings| landings <= 1),
        "nothing of before is left to load: {report:#}"
    );
    Ok(())
}

#[tokio::test]
async fn two_hosts_that_load_into_a_folder_double_nothing() -> Result<()> {
    load_twice(At::Folder).await
}

#[tokio::test]
async fn two_hosts_that_load_into_a_bucket_double_nothing() -> Result<()> {
    load_twice(At::Bucket).await
}

/// Nothing can hold both at one point here: whoever comes later finds the work done, or is told.
async fn load_twice(place: At) -> Result<()> {
    let mut world = World::begin(Beginning::at(place)).await?;
    world.run().await?;
    for _ in 0..4 {
        world.live().await?;
        world.done(&["extract"])?;
        world.done(&["transform"])?;
        let hosts = [start(&world, "load")?, start(&world, "load")?];
        let mut done = 0;
        for host in hosts {
            let said = host.end()?;
            match said.code {
                Some(0) => done += 1,
                _ => is_conflict(&said)?,
            }
        }
        ensure!(done > 0, "both lost");
        world.evolution.run();
        world.check().await?;
    }
    world.run().await?;
    Ok(())
}

/// Starts `verb`, which will say what it says as JSON.
fn start(world: &World, verb: &str) -> Result<Host> {
    Host::start(&world.project, [verb, "--output", "json"])
}
