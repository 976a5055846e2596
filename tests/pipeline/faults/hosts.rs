//! Four hosts that run the same project at the same time, again and again.

use anyhow::{Context, Result, ensure};
use tidemill_tests::host::{Host, is_conflict};
use tidemill_tests::postgres::connect;
use tidemill_tests::sessions;
use tidemill_tests::world::{At, Beginning, World};

/// Hosts at the same time.
const HOSTS: usize = 4;

/// How often they meet.
const ROUNDS: usize = 4;

#[tokio::test]
async fn of_four_hosts_with_an_embedded_warehouse_one_wins_each_manifest() -> Result<()> {
    race(At::Folder).await
}

#[tokio::test]
async fn of_four_hosts_in_a_bucket_one_wins_each_manifest() -> Result<()> {
    race(At::Bucket).await
}

#[tokio::test]
async fn of_four_hosts_with_a_warehouse_on_postgres_one_wins_each_manifest() -> Result<()> {
    race(At::Postgres).await
}

async fn race(warehouse: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse,
        lake: warehouse,
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run().await?;
    for round in 1..=ROUNDS {
        world.live().await?;
        meet(&world)
            .await
            .with_context(|| format!("round {round}"))?;
        // Whoever committed the landing may have been overtaken while it was loaded: the next run finds the rest.
        world.done(&["transform"])?;
        world.done(&["load"])?;
        world.evolution.run();
        world
            .check()
            .await
            .with_context(|| format!("after round {round}"))?;
    }
    world.verify()?;
    Ok(())
}

/// Starts all of them before any of them can have read what it needs.
async fn meet(world: &World) -> Result<()> {
    let before = manifests(world)?;
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        hosts.push(Host::start(&world.project, ["run", "--output", "json"])?);
    }
    sessions::waiting_for_a_lock(&world.source, i64::try_from(HOSTS)?).await?;
    lock.batch_execute("ROLLBACK").await?;
    let mut done = 0;
    for host in hosts {
        let said = host.end()?;
        match said.code {
            Some(0) => done += 1,
            _ => is_conflict(&said)?,
        }
    }
    ensure!(done <= 1, "{done} hosts committed the same landing");
    let landed = manifests(world)? - before;
    ensure!(landed == 1, "{landed} landings were committed");
    Ok(())
}

/// Landing manifests that are there.
fn manifests(world: &World) -> Result<usize> {
    let is_landing = |file: &&String| file.starts_with("lake/ingestion/totesys/_manifests/");
    Ok(world.files()?.iter().filter(is_landing).count())
}
