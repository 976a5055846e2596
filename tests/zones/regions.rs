//! A project that says nowhere in which region its buckets are: with the endpoint of a store of its own it needs none, and
//! without it is told what to set, before anybody is asked.

use anyhow::{Context as _, Result, ensure};
use tidemill_tests::project::Project;
use tidemill_tests::store::Store;
use tidemill_tests::world::{At, Beginning, World};

const PROJECT: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.sqlite\"\n[lake]\n\
    ingestion = \"INGESTION\"\n[warehouse]\nurl = \"WAREHOUSE\"\n\
    [transform.dim_currency]\nmodule = \"dim-currency@1\"\n";

#[tokio::test]
async fn a_store_of_ones_own_needs_no_region() -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Bucket)
    })
    .await?;
    world.project.unset("AWS_REGION");
    world.run().await?;
    // The endpoint may be a profile's, too.
    world.project.unset("AWS_ENDPOINT_URL_S3");
    let lake = world.lake.as_ref().context("the zones are in a bucket")?;
    let profile = format!("[default]\nendpoint_url = {}\n", lake.store.endpoint());
    let file = world.project.path().join("aws");
    std::fs::write(&file, profile)?;
    let file = file.display().to_string();
    world.project.set("AWS_CONFIG_FILE", &file);
    world.live().await?;
    world.run().await?;
    Ok(())
}

#[tokio::test]
async fn without_a_region_it_is_said_what_to_set() -> Result<()> {
    for (ingestion, warehouse, verb) in [
        ("s3://acme-ingestion/shop", "delta://./warehouse", "extract"),
        ("file://./lake", "delta://s3://acme-warehouse/star", "load"),
    ] {
        let toml = PROJECT.replace("INGESTION", ingestion);
        let mut project = Project::with_file(&toml.replace("WAREHOUSE", warehouse))?;
        for (name, value) in Store::shared().environment() {
            project.set(&name, &value);
        }
        for variable in ["AWS_REGION", "AWS_ENDPOINT_URL_S3"] {
            project.unset(variable);
        }
        rusqlite::Connection::open(project.path().join("shop.sqlite"))?.execute_batch(
            "CREATE TABLE currency (currency_id INTEGER PRIMARY KEY, currency_code TEXT NOT NULL)",
        )?;
        let said = project.call([verb])?;
        ensure!(said.code == Some(1), "{verb}: {said:#?}");
        for part in ["s3://acme-", "hint: give the bucket's region", "AWS_REGION"] {
            ensure!(
                said.stderr.contains(part),
                "{verb}: {part} is not in {}",
                said.stderr
            );
        }
    }
    Ok(())
}
