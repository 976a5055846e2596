//! The whole job with every zone in a bucket: first run, days, idle runs on a machine that knows the zones and on one that
//! does not, verify, replay and sweep; a zone that was emptied or exchanged; a project that moves into a bucket.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidemill::demo::Oddity;
use tidemill_tests::world::{At, Beginning, Lake, World};

const DAYS: u32 = 6;
/// Requests of a run that finds nothing new, with eleven tables: fewer than twenty.
const IDLE_REQUESTS: u64 = 19;
/// The same on a machine that has nothing but the program and its compiled modules: all promotions are read one by one, and
/// of SQLite the index that each table is compared with, which is in one object or a few.
const COLD_REQUESTS: u64 = 50;

async fn world(source: At, warehouse: At) -> Result<World> {
    World::begin(Beginning {
        scale: 0.3,
        oddities: match source {
            // Its server is shared, and some of them are statements about all of it.
            At::Postgres => Vec::new(),
            At::Folder | At::Bucket => Oddity::ALL.to_vec(),
        },
        warehouse,
        lake: At::Bucket,
        ..Beginning::at(source)
    })
    .await
}

async fn pass(source: At, warehouse: At) -> Result<()> {
    let mut world = world(source, warehouse).await?;
    let machine = tempfile::tempdir()?;
    let cache = machine.path().join("cache");
    world
        .project
        .set("TIDEMILL_CACHE", &cache.to_string_lossy());
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
    let warm = requests(&idle)?;
    for known in ["objects", "logs"] {
        std::fs::remove_dir_all(cache.join(known))?;
    }
    let idle_elsewhere = world.run().await.context("an idle run elsewhere")?;
    let cold = requests(&idle_elsewhere)?;
    println!(
        "an idle run: {}, elsewhere: {}",
        idle["store"], idle_elsewhere["store"]
    );
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
    ensure!(
        warm <= IDLE_REQUESTS && cold <= COLD_REQUESTS,
        "an idle run made {warm} requests, and {cold} elsewhere"
    );
    world.done(&["sweep"])?;
    ensure!(listed(&world)? == after, "a sweep removed what is young");
    let lake = world.project.path().join("lake");
    ensure!(!lake.exists(), "something is in a folder");
    Ok(())
}

fn requests(report: &Value) -> Result<u64> {
    let requests = report["store"]["requests"].as_u64();
    requests.context("the store is asked")
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
    pass(At::Folder, At::Bucket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn days_with_zones_in_a_bucket_are_exact_on_postgres() -> Result<()> {
    pass(At::Postgres, At::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_knows_of_a_bucket_does_not_hide_that_it_was_emptied() -> Result<()> {
    let mut world = world(At::Folder, At::Bucket).await?;
    world.run().await.context("the first run")?;
    world.live().await?;
    world.run().await.context("a day")?;
    let lake = world.lake.as_ref().context("the zones are in a bucket")?;
    let (store, bucket) = (lake.store.clone(), lake.bucket.clone());
    let client = store.client();
    for (key, ..) in store.listed(&bucket) {
        if key.contains("lake/ingestion/") {
            client
                .delete_object()
                .bucket(&bucket)
                .key(&key)
                .send()
                .await?;
        }
    }
    let wiped = world.project.call(["run"])?;
    ensure!(
        wiped.code == Some(1) && wiped.stderr.contains("the landing zone ends at 0"),
        "{wiped:#?}"
    );
    // What `doctor` and others have left of landings is gone as well: nothing was landed on top of nothing.
    let landed = store.listed(&bucket);
    let landed = landed
        .iter()
        .filter(|(key, ..)| key.contains("lake/ingestion/totesys"));
    ensure!(
        landed.count() == 0,
        "a run landed into a zone that lost its history"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_moves_into_buckets_is_told_how_its_modules_follow() -> Result<()> {
    let mut world = world(At::Folder, At::Folder).await?;
    let fresh = format!(
        "s3://{}/moved",
        world.lake.as_ref().context("a lake")?.bucket
    );
    world.project.set("TIDEMILL_LAKE__MODULES", &fresh);
    let lost = world.project.call(["transform"])?;
    let hint = "`tidemill module push --built-in`";
    ensure!(lost.code == Some(1) || lost.code == Some(2), "{lost:#?}");
    ensure!(lost.stderr.contains(hint), "{lost:#?}");
    let told = world.project.call(["module", "push", "--built-in"])?;
    ensure!(
        told.code == Some(0) && told.stdout.contains("11 promoted"),
        "{told:#?}"
    );
    let again = world.project.call(["module", "push", "--built-in"])?;
    ensure!(again.stdout.contains("0 promoted"), "{again:#?}");
    let run = world.run().await.context("the first run after the move")?;
    ensure!(requests(&run)? > 0, "{run}");
    let told = world.project.call(["run"])?;
    ensure!(told.stdout.contains("\nstore  "), "{told:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_was_copied_into_a_bucket_goes_on_where_it_ended() -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Folder)
    })
    .await?;
    world.run().await.context("the first run")?;
    let lake = Lake::fresh().await;
    let client = lake.store.client();
    let folder = world.project.path().join("lake");
    for file in files(&folder)? {
        let key = file.strip_prefix(world.project.path())?;
        let put = client.put_object().bucket(&lake.bucket);
        let body = std::fs::read(&file)?.into();
        put.key(key.to_string_lossy()).body(body).send().await?;
    }
    std::fs::remove_dir_all(&folder)?;
    for (name, value) in lake.environment() {
        world.project.set(&name, &value);
    }
    let day = world.live().await?;
    let report = world.run().await;
    let report = report.with_context(|| format!("after {}", day.date))?;
    ensure!(
        report.pointer("/extract/0/landing") == Some(&2.into()) && !folder.exists(),
        "{report}"
    );
    world.verify()?;
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}
