//! What is accepted goes on with its history: rows of two schemas side by side, every version exact.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::execute;

use crate::world::{At, Beginning, World, extracted, report_of};

/// The state of `table` in the newest landing manifest.
fn landed(world: &World, table: &str) -> Result<Value> {
    let folder = world
        .project
        .path()
        .join("lake/ingestion/totesys/_manifests");
    let files = std::fs::read_dir(folder)?.map(|file| Ok(file?.path()));
    let newest = files
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .max()
        .context("there is a landing")?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(newest)?)?;
    Ok(manifest["tables"][table].clone())
}

/// A run in which nothing but `table` is stopped, with `words` in its message.
fn stopped(world: &World, table: &str, words: &str) -> Result<()> {
    let said = world.call(&["run"])?;
    let report = report_of(&said)?;
    let failures = report["extract"][0]["failures"]
        .as_array()
        .context("a run extracts")?;
    let [failure] = failures.as_slice() else {
        anyhow::bail!("{failures:#?}");
    };
    ensure!(
        said.code == Some(1) && failure["table"] == table,
        "{failure:#}"
    );
    let message = failure["message"].as_str().unwrap_or_default();
    ensure!(message.contains(words), "{message}");
    let hint = failure["hint"].as_str().unwrap_or_default();
    ensure!(
        hint.contains(&format!("`tidemill run --accept {table}`")),
        "{hint}"
    );
    Ok(())
}

#[tokio::test]
async fn facts_keep_every_version_over_types_that_grow_and_shrink() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Postgres)).await?;
    world.run().await?;
    for wide in ["units_sold", "staff_id"] {
        world.live().await?;
        execute(
            &world.source,
            &format!("ALTER TABLE sales_order ALTER COLUMN {wide} TYPE bigint"),
        )
        .await?;
        world
            .run()
            .await
            .with_context(|| format!("{wide} is wide"))?;
        let landed = landed(&world, "sales_order")?;
        ensure!(
            landed["replaces"] == false,
            "what landed narrow is read wide: {landed:#}"
        );
    }
    world.live().await?;
    execute(
        &world.source,
        "ALTER TABLE sales_order ALTER COLUMN units_sold TYPE integer",
    )
    .await?;
    stopped(
        &world,
        "sales_order",
        "column units_sold is integer and was bigint",
    )?;
    let report = world.done(&["run", "--accept", "sales_order"])?;
    let orders = extracted(&report, "sales_order")?;
    ensure!(orders["rows_live"] == orders["rows_read"], "{orders:#}");
    let again = orders["rows_changed"].as_u64().unwrap_or_default()
        + orders["rows_new"].as_u64().unwrap_or_default();
    ensure!(
        orders["rows_read"] == again,
        "every row is landed in the new type: {orders:#}"
    );
    ensure!(
        landed(&world, "sales_order")?["replaces"] == true,
        "and nothing of the old one is read"
    );
    world.evolution.run();
    world.check().await.context("after it was accepted")?;
    for _ in 0..2 {
        world.live().await?;
        world.run().await.context("the days after")?;
    }
    world.verify()?;
    Ok(())
}

#[tokio::test]
async fn a_column_that_comes_and_goes_in_other_types_is_never_mixed() -> Result<()> {
    let world = World::begin(Beginning {
        scale: 0.05,
        warehouse: At::Folder,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run_and_compare(&[]).await?;
    execute(&world.source, "ALTER TABLE address ADD COLUMN geo date").await?;
    let report = world.run_and_compare(&[]).await?;
    let address = extracted(&report, "address")?;
    ensure!(
        address["window"]["reason"]["reason"] == "schema-changed",
        "{address:#}"
    );
    ensure!(
        address["rows_changed"] == 0,
        "a column of NULLs changes no row: {address:#}"
    );
    // 1970-01-08 and 7 have the same digest.
    execute(
        &world.source,
        "UPDATE address SET geo = '1970-01-08' WHERE address_id < 10",
    )
    .await?;
    world.run_and_compare(&[]).await?;
    execute(&world.source, "ALTER TABLE address DROP COLUMN geo").await?;
    stopped(&world, "address", "column geo dropped")?;
    world.run_and_compare(&["--accept", "address"]).await?;
    ensure!(
        landed(&world, "address")?["dropped"][0]["name"] == "geo",
        "it is remembered"
    );
    execute(
        &world.source,
        "ALTER TABLE address ADD COLUMN geo integer DEFAULT 7",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    let address = extracted(&report, "address")?;
    ensure!(
        address["rows_changed"] == address["rows_live"],
        "{address:#}"
    );
    let landed = landed(&world, "address")?;
    ensure!(
        landed["replaces"] == true && landed["dropped"].is_null(),
        "{landed:#}"
    );
    Ok(())
}

#[tokio::test]
async fn digits_that_stay_while_the_point_moves_are_landed_again() -> Result<()> {
    let world = World::begin(Beginning {
        scale: 0.05,
        warehouse: At::Folder,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let coins = "CREATE TABLE coin (coin_id int PRIMARY KEY, worth numeric(10,2));
                 INSERT INTO coin VALUES (1, 1.00), (2, NULL)";
    execute(&world.source, coins).await?;
    world.run_and_compare(&[]).await?;
    let moved = "ALTER TABLE coin ALTER COLUMN worth TYPE numeric(12,4) USING worth / 100";
    execute(&world.source, moved).await?;
    let report = world.run_and_compare(&[]).await?;
    let coin = extracted(&report, "coin")?;
    ensure!(coin["rows_changed"] == 2, "{coin:#}");
    // Another key is never accepted: what is gone could not be told any more.
    execute(&world.source, "ALTER TABLE coin DROP CONSTRAINT coin_pkey").await?;
    for arguments in [&["run"][..], &["run", "--accept", "coin"]] {
        let said = world.call(arguments)?;
        let failure = report_of(&said)?["extract"][0]["failures"][0].clone();
        ensure!(
            said.code == Some(1) && failure["table"] == "coin",
            "{failure:#}"
        );
        let message = failure["message"].as_str().unwrap_or_default();
        ensure!(
            message.ends_with("its key was (coin_id integer) and is () now"),
            "{message}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_table_without_a_key_that_gets_one_goes_on_by_it() -> Result<()> {
    let world = World::begin(Beginning {
        scale: 0.05,
        warehouse: At::Folder,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    execute(
        &world.source,
        "CREATE TABLE note AS SELECT g AS id, 'x'::text AS what FROM generate_series(1, 9) g",
    )
    .await?;
    world.run_and_compare(&[]).await?;
    execute(&world.source, "ALTER TABLE note ADD PRIMARY KEY (id)").await?;
    stopped(&world, "note", "key is (id integer) and was ()")?;
    world.run_and_compare(&["--accept", "note"]).await?;
    ensure!(
        landed(&world, "note")?["replaces"] == true,
        "it begins anew"
    );
    execute(&world.source, "UPDATE note SET what = 'y' WHERE id = 3").await?;
    let report = world.run_and_compare(&[]).await?;
    let note = extracted(&report, "note")?;
    ensure!(
        note["window"]["method"] == "snapshot" && note["rows_changed"] == 1,
        "{note:#}"
    );
    // Keys that were landed narrow are found wide, to be changed and to be gone.
    execute(
        &world.source,
        "ALTER TABLE note ALTER COLUMN id TYPE bigint",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    let note = extracted(&report, "note")?;
    ensure!(
        note["rows_new"] == 0 && note["rows_changed"] == 0 && note["rows_deleted"] == 0,
        "{note:#}"
    );
    execute(
        &world.source,
        "UPDATE note SET what = 'z' WHERE id = 5; DELETE FROM note WHERE id IN (4, 6)",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    let note = extracted(&report, "note")?;
    ensure!(
        note["rows_new"] == 0 && note["rows_changed"] == 1 && note["rows_deleted"] == 2,
        "{note:#}"
    );
    ensure!(note["rows_live"] == 7, "{note:#}");
    Ok(())
}
