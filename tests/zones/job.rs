//! The whole job with every zone in a bucket: first run, days, an idle run, verify and replay.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tidemill::demo::Oddity;
use tidemill_tests::store::Store;
use tidemill_tests::world::{At, Beginning, World};

const DAYS: u32 = 8;

/// Puts the zones of a world into buckets: three buckets, one of them with a prefix.
async fn into_buckets(world: &mut World, store: &Store) -> Result<Vec<String>> {
    let mut buckets = Vec::new();
    for (name, value) in store.environment() {
        world.project.set(&name, &value);
    }
    for zone in ["INGESTION", "PROCESSED", "MODULES"] {
        let bucket = store.fresh_bucket().await;
        let prefix = if zone == "PROCESSED" {
            "/totesys/processed"
        } else {
            ""
        };
        world.project.set(
            &format!("TIDEMILL_LAKE__{zone}"),
            &format!("s3://{bucket}{prefix}"),
        );
        buckets.push(bucket);
    }
    Ok(buckets)
}

async fn pass(place: At) -> Result<()> {
    let store: Arc<Store> = Store::shared();
    let mut world = World::begin(Beginning {
        scale: 0.3,
        oddities: Oddity::ALL.to_vec(),
        ..Beginning::at(place)
    })
    .await?;
    let buckets = into_buckets(&mut world, &store).await?;
    world.run().await.context("the first run")?;
    for _ in 0..DAYS {
        let day = world.live().await?;
        world
            .run()
            .await
            .with_context(|| format!("after {}", day.date))?;
    }
    world.verify()?;
    world.done(&["replay", "last"])?;
    let before = landed(&store, &buckets).await;
    let idle = world.run().await.context("an idle run")?;
    ensure!(
        landed(&store, &buckets).await.len() >= before.len(),
        "{idle}"
    );
    ensure!(
        !world.project.path().join("lake").exists(),
        "something is in a folder"
    );
    Ok(())
}

async fn landed(store: &Store, buckets: &[String]) -> Vec<String> {
    let mut keys = Vec::new();
    for bucket in buckets {
        keys.extend(store.objects(bucket).await.into_iter().map(|(key, _)| key));
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn days_with_zones_in_buckets_are_exact_in_an_embedded_warehouse() -> Result<()> {
    pass(At::Folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn days_with_zones_in_buckets_are_exact_on_postgres() -> Result<()> {
    pass(At::Postgres).await
}
