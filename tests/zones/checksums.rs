//! A bit that changes on the way, there or back: it is noticed, the object is named, and what is asked for again is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tidemill::config::StorePlan;
use tidemill::zone::{Opener, Zone, ZoneError};
use tidemill_tests::gate::{Fate, Gate, Request};
use tidemill_tests::lake::Lake;
use tidemill_tests::store::Store;
use tidemill_tests::world::{At, Beginning, World};

const SMALL: usize = 100_000;
/// Three parts.
const LARGE: usize = 20 * 1024 * 1024;

async fn behind_a_gate() -> Result<(Arc<Store>, Gate, Arc<dyn Zone>, String)> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    let gate = Gate::before(store.port())?;
    let plan = StorePlan {
        endpoint: Some(gate.endpoint()),
        ..store.plan()
    };
    let zone = Opener::new("/", &plan).open(&format!("s3://{bucket}/zone"))?;
    // The bucket is proven, for puts and for parts.
    zone.create("first", Bytes::new()).await?;
    write(zone.as_ref(), "first in parts", LARGE).await?;
    Ok((store, gate, zone, bucket))
}

async fn write(zone: &dyn Zone, key: &str, length: usize) -> Result<(), ZoneError> {
    let mut writer = zone.writer(key).await?;
    writer.write(vec![7; length].into()).await?;
    writer.finish().await.map(drop)
}

/// What is said of an error and of its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_changes_on_the_way_to_the_store_is_refused_there() -> Result<()> {
    let (_store, gate, zone, bucket) = behind_a_gate().await?;
    for (key, length) in [("small", SMALL), ("large", LARGE)] {
        gate.set(move |request| match request.method.as_str() {
            "PUT" if request.key.ends_with(key) => Fate::FlipRequest,
            _ => Fate::Pass,
        });
        let error = write(zone.as_ref(), key, length).await.err();
        let error = told(&error.with_context(|| format!("{key} is there"))?);
        ensure!(
            gate.fates().contains_key("request changed"),
            "{key}: nothing was changed"
        );
        ensure!(
            error.contains(&format!("s3://{bucket}/zone/{key}")) && error.contains("(request "),
            "{error}"
        );
        ensure!(zone.size(key).await?.is_none(), "{key} is there");
        gate.set(|_| Fate::Pass);
        write(zone.as_ref(), key, length).await?;
        ensure!(zone.read(key).await? == vec![7; length], "{key}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_changes_on_the_way_back_is_noticed_and_the_object_asked_for_again() -> Result<()>
{
    let (_store, gate, zone, bucket) = behind_a_gate().await?;
    zone.create("manifest", vec![7; SMALL].into()).await?;
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    gate.set(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Fate::FlipAnswer,
        _ => Fate::Pass,
    });
    ensure!(zone.read("manifest").await? == vec![7; SMALL]);
    ensure!(asked.load(Ordering::SeqCst) == 3);

    gate.set(|_| Fate::FlipAnswer);
    let error = zone.read("manifest").await.err().context("a bit differs")?;
    let told = told(&error);
    ensure!(
        told.contains(&format!("cannot read s3://{bucket}/zone/manifest"))
            && told.contains("checksum")
            && told.contains("(request "),
        "{told}"
    );
    Ok(())
}

/// Rows of landings and indexes have their digests in manifests; whatever a store or a line says, they are compared.
#[tokio::test]
async fn a_run_notices_bits_that_change_on_the_way_back_and_the_next_goes_on() -> Result<()> {
    let store = Store::shared();
    let mut world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Folder)
    })
    .await?;
    let mut lake = Lake::of(&mut world.project, &store).await?;
    world.run().await?;
    let gate = Gate::before(store.port())?;
    let is_rows = |request: &Request| request.method == "GET" && request.key.ends_with(".parquet");
    for verb in ["transform", "load"] {
        world.live().await?;
        world.done(&["extract"])?;
        if verb == "load" {
            world.done(&["transform"])?;
        }
        lake.enter(&mut world.project, &gate.endpoint(), None);
        gate.set(move |request| match is_rows(request) {
            true => Fate::FlipAnswer,
            false => Fate::Pass,
        });
        let said = world.project.call([verb])?;
        ensure!(said.code == Some(1), "{verb}: {said:#?}");
        ensure!(gate.fates().contains_key("answer changed"));
        let bucket = match verb {
            "load" => &lake.processed.bucket,
            _ => &lake.ingestion.bucket,
        };
        ensure!(
            said.stderr.contains(&format!("s3://{bucket}/")),
            "{verb}: {said:#?}"
        );
        world.evolution.run();
        lake.enter(&mut world.project, &store.endpoint(), None);
        world.run().await.with_context(|| format!("after {verb}"))?;
        lake.look().await?;
    }
    world.verify()?;
    Ok(())
}
