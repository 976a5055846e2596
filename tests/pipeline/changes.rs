//! Every kind of change, one at a time, on the embedded defaults and on PostgreSQL on both sides.

use anyhow::{Context, Result, ensure};
use tidemill::demo::{Change, Commit, Oddity};

use super::world::{At, Beginning, World};

#[tokio::test]
async fn the_embedded_star_follows_every_kind_of_change() -> Result<()> {
    follow(At::Folder).await
}

#[tokio::test]
async fn the_star_in_a_bucket_follows_every_kind_of_change() -> Result<()> {
    follow(At::Bucket).await
}

#[tokio::test]
async fn the_star_on_postgres_follows_every_kind_of_change() -> Result<()> {
    follow(At::Postgres).await
}

async fn follow(place: At) -> Result<()> {
    let mut world = World::begin(Beginning::at(place)).await?;
    world.run().await.context("the first run")?;
    idle(&mut world).await.context("an idle run")?;
    world.live().await?;
    world.run().await.context("a day without oddities")?;
    for oddity in [
        Oddity::BumpedUnits,
        Oddity::Refunds,
        Oddity::NewCurrency,
        Oddity::NoContacts,
        Oddity::NoLocation,
        Oddity::BadDates,
        Oddity::FutureDates,
    ] {
        world.cause(oddity).await?;
        world.run().await.with_context(|| oddity.to_string())?;
    }
    // A member of staff, a department and an address: the seed decides which, and how often.
    for _ in 0..5 {
        world.cause(Oddity::Moves).await?;
    }
    world.run().await.context("people and offices that moved")?;
    world.edit_silently().await?;
    world.run().await.context("a silent edit")?;
    come_back(&mut world).await?;
    world.verify()?;
    idle(&mut world).await.context("an idle run at the end")
}

/// Orders that are edited, edited back, deleted and entered again.
async fn come_back(world: &mut World) -> Result<()> {
    let edited = fact_of(&world.cause(Oddity::EditsBack).await?)?;
    let deleted = fact_of(&world.cause(Oddity::EnteredAgain).await?)?;
    let versions_before = versions(world, &edited).await?;
    let (rows, current) = (
        versions(world, &deleted).await?,
        current(world, &deleted).await?,
    );
    ensure!(current == 1, "{deleted:?} has {current} current rows");
    for _ in 0..2 {
        world.cause(Oddity::Deletes).await?;
    }
    world
        .run()
        .await
        .context("orders that were edited and deleted")?;
    let gone = self::current(world, &deleted).await?;
    ensure!(gone == 0, "{deleted:?} was deleted and is current");
    let kept = versions(world, &deleted).await?;
    ensure!(kept == rows, "{deleted:?} has {kept} versions, not {rows}");
    // The day brings both back.
    world.live().await?;
    world.run().await.context("orders that came back")?;
    let found = versions(world, &edited).await?;
    ensure!(
        found == versions_before + 2,
        "{edited:?} has {found} versions"
    );
    let found = versions(world, &deleted).await?;
    ensure!(found == rows + 1, "{deleted:?} has {found} versions");
    let again = self::current(world, &deleted).await?;
    ensure!(again == 1, "{deleted:?} has {again} current rows");
    Ok(())
}

/// A run without a change makes nothing but, at most, a manifest in each zone.
async fn idle(world: &mut World) -> Result<()> {
    let (files, rows) = (world.files()?, world.rows().await?);
    world.run().await?;
    let after = world.files()?;
    let new: Vec<&String> = after.difference(&files).collect();
    let (manifests, objects): (Vec<&String>, Vec<&String>) = new
        .into_iter()
        .partition(|file| file.contains("/_manifests/"));
    ensure!(objects.is_empty(), "it made {objects:#?}");
    ensure!(manifests.len() <= 2, "it made {manifests:#?}");
    let found = world.rows().await?;
    ensure!(found == rows, "{rows:#?} became {found:#?}");
    Ok(())
}

/// The fact table of the only order that a commit changes, its key column and the order's key.
type Fact = (&'static str, &'static str, i32);

fn fact_of(commit: &Commit) -> Result<Fact> {
    let facts = commit.changes.iter().find_map(|change| match change {
        Change::Update { after: row, .. } | Change::Delete(row) => match row.table().name() {
            "sales_order" => Some(("fact_sales_order", "sales_order_id", row.key())),
            "purchase_order" => Some(("fact_purchase_orders", "purchase_order_id", row.key())),
            _ => None,
        },
        _ => None,
    });
    facts.with_context(|| format!("{commit:?} changes no order"))
}

async fn versions(world: &World, (table, key, id): &Fact) -> Result<u32> {
    count(world, table, key, *id).await
}

async fn current(world: &World, (table, key, id): &Fact) -> Result<u32> {
    count(world, &format!("{table}_current"), key, *id).await
}

async fn count(world: &World, table: &str, key: &str, id: i32) -> Result<u32> {
    let sql = format!("SELECT count(*) FROM {table} WHERE {key} = {id}");
    Ok(world.value(&sql).await?.parse()?)
}
