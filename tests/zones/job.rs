//! The whole job with every zone in a bucket: first run, days, an idle run, verify, replay and sweep.

use anyhow::{Context as _, Result, ensure};
use tidemill::demo::Oddity;
use tidemill_tests::world::{At, Beginning, World};

const DAYS: u32 = 6;
/// Requests of a run that finds nothing new, with eleven tables. Eleven of them read what SQLite is compared with.
const IDLE_REQUESTS: u64 = 48;

async fn pass(warehouse: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.3,
        oddities: Oddity::ALL.to_vec(),
        warehouse,
        lake: At::Bucket,
        ..Beginning::at(At::Folder)
    })
    .await?;
    world.run().await.context("the first run")?;
    for _ in 0..DAYS {
        let day = world.live().await?;
        let report = world.run().await;
        let report = report.with_context(|| format!("after {}", day.date))?;
        println!("{}: {}", day.date, report["store"]);
    }
    world.verify()?;
    world.done(&["replay", "last"])?;
    let before = listed(&world)?;
    let idle = world.run().await.context("an idle run")?;
    println!("an idle run: {}", idle["store"]);
    let after = listed(&world)?;
    let new: Vec<_> = after
        .iter()
        .filter(|object| !before.contains(object))
        .collect();
    // It says that it looked, and has nothing to add.
    ensure!(
        new.iter().all(|(key, ..)| key.contains("_manifests/")),
        "an idle run wrote {new:?}"
    );
    let requests = idle["store"]["requests"].as_u64();
    ensure!(
        requests.is_some_and(|requests| requests <= IDLE_REQUESTS),
        "an idle run is to make at most {IDLE_REQUESTS} requests: {}",
        idle["store"]
    );
    world.done(&["sweep"])?;
    ensure!(listed(&world)? == after, "a sweep removed what is young");
    let lake = world.project.path().join("lake");
    ensure!(!lake.exists(), "something is in a folder");
    Ok(())
}

/// What is in the bucket: keys, and the store's own words for what they hold.
fn listed(world: &World) -> Result<Vec<(String, String, u64)>> {
    let lake = world.lake.as_ref().context("the zones are in a bucket")?;
    let mut listed = lake.store.listed(&lake.bucket);
    // What a sweep asks the store's time with.
    listed.retain(|(key, ..)| !key.contains("/_tidemill/swe"));
    Ok(listed)
}

#[tokio::test(flavor = "multi_thread")]
async fn days_in_a_bucket_are_exact_in_an_embedded_warehouse_beside_it() -> Result<()> {
    pass(At::Bucket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn days_with_zones_in_a_bucket_are_exact_on_postgres() -> Result<()> {
    pass(At::Postgres).await
}
