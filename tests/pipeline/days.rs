//! Thirty days of everything that the schema allows, each compared.

use anyhow::{Context, Result, ensure};
use tidemill::demo::Oddity;

use super::world::{At, Beginning, World};

/// Working days that pass.
const DAYS: u32 = 30;

#[tokio::test]
async fn thirty_days_on_the_embedded_defaults_are_exact() -> Result<()> {
    pass(At::Folder).await
}

#[tokio::test]
async fn thirty_days_on_postgres_are_exact() -> Result<()> {
    pass(At::Postgres).await
}

async fn pass(place: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.3,
        oddities: Oddity::ALL.to_vec(),
        ..Beginning::at(place)
    })
    .await?;
    world.run().await.context("the first run")?;
    let first = world.evolution.versions();
    for _ in 0..DAYS {
        let day = world.live().await?;
        world
            .run()
            .await
            .with_context(|| format!("after {}", day.date))?;
    }
    let later = world.evolution.versions() - first;
    ensure!(later > 500, "only {later} versions in {DAYS} days");
    Ok(())
}
