//! Rows that modules refuse: kept with their reason, in nobody's way, and loaded once they are right.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::execute;

use super::world::{At, Beginning, World};

/// An order comes with a word for a date, a good one beside it, and a currency that nobody knows.
const SPOIL: &str = "
    INSERT INTO purchase_order (purchase_order_id, created_at, last_updated, staff_id, counterparty_id, item_code,
        item_quantity, item_unit_price, currency_id, agreed_delivery_date, agreed_payment_date,
        agreed_delivery_location_id)
    SELECT (SELECT max(purchase_order_id) FROM purchase_order) + place, created_at, last_updated, staff_id,
        counterparty_id, code, item_quantity, item_unit_price, currency_id, delivery, agreed_payment_date,
        agreed_delivery_location_id
    FROM purchase_order
    JOIN (SELECT 1 AS place, 'BAD' AS code, 'soon' AS delivery UNION ALL SELECT 2, 'GOOD', '2023-01-02') typed
      ON purchase_order_id = 1;
    INSERT INTO currency (currency_id, currency_code, created_at, last_updated)
    VALUES (90, 'XXQ', '2022-12-01 10:00:00.000', '2022-12-01 10:00:00.000');";

const MEND: &str = "
    UPDATE purchase_order SET agreed_delivery_date = '2023-01-03' WHERE item_code = 'BAD';
    UPDATE currency SET currency_code = 'CHF' WHERE currency_code = 'XXQ';
    UPDATE sales_order SET agreed_delivery_date = '2023-02-28' WHERE sales_order_id = 1;";

#[tokio::test]
async fn refused_rows_wait_in_quarantine_beside_an_embedded_warehouse() -> Result<()> {
    refuse(At::Folder).await
}

#[tokio::test]
async fn refused_rows_wait_in_quarantine_beside_a_warehouse_on_postgres() -> Result<()> {
    refuse(At::Postgres).await
}

async fn refuse(place: At) -> Result<()> {
    let world = World::begin(Beginning::at(place)).await?;
    world.run_and_compare(&[]).await?;
    ensure!(quarantined(&world)?.is_empty(), "every row was good");
    write(&world, SPOIL).await?;
    // The oracle leaves out what is refused and has everything else, the good row beside a bad one too.
    let report = world.run_and_compare(&[]).await?;
    let refused = ["dim_currency", "fact_purchase_orders"];
    for table in refused {
        let (rows, code, message) = refusal(&report, table)?;
        ensure!(rows == 1, "{table} refused {rows} rows: {report:#}");
        ensure!(!code.is_empty() && !code.contains(' '), "{table}: {code}");
        ensure!(message.contains(' '), "{table}: {message}");
    }
    let kept = quarantined(&world)?;
    for table in refused {
        let of_table = format!("lake/processed/{table}/");
        let objects = kept
            .iter()
            .filter(|file| file.starts_with(&of_table))
            .count();
        ensure!(objects == 1, "{objects} objects of {table} in {kept:#?}");
    }
    let good = "SELECT count(*) FROM fact_purchase_orders_current WHERE item_code = 'GOOD'";
    ensure!(world.value(good).await? == "1", "the good row is loaded");
    let bad = "SELECT count(*) FROM fact_purchase_orders WHERE item_code = 'BAD'";
    ensure!(world.value(bad).await? == "0", "the bad row is not");
    world.verify()?;
    mend(&world, &kept).await
}

/// What is mended in the source is loaded by the next run, and what was kept stays.
async fn mend(world: &World, kept: &[String]) -> Result<()> {
    // An order that was good is edited into one that is not: its history is neither lost nor longer.
    let spoil =
        "UPDATE sales_order SET agreed_delivery_date = '2023-02-31' WHERE sales_order_id = 1";
    write(world, spoil).await?;
    let said = world.project.call(["run"])?;
    ensure!(said.code == Some(3), "a row was refused: {said:#?}");
    let told = format!("{}{}", said.stdout, said.stderr);
    ensure!(told.contains("fact_sales_order"), "{told}");
    ensure!(
        told.contains("agreed_delivery_date"),
        "people read why: {told}"
    );
    let versions = "SELECT count(*) FROM fact_sales_order WHERE sales_order_id = 1";
    ensure!(
        world.value(versions).await? == "1",
        "the history is as it was"
    );
    write(world, MEND).await?;
    let said = world.call(&["run"])?;
    ensure!(said.code == Some(0), "every row is good again: {said:#?}");
    world.compare().await?;
    for sql in [
        "SELECT count(*) FROM fact_purchase_orders_current WHERE item_code = 'BAD'",
        "SELECT count(*) FROM dim_currency WHERE currency_code = 'CHF'",
        "SELECT count(*) FROM fact_sales_order_current WHERE sales_order_id = 1",
    ] {
        ensure!(world.value(sql).await? == "1", "{sql} is not 1");
    }
    ensure!(
        world.value(versions).await? == "2",
        "the mended order is a version"
    );
    let still_kept = quarantined(world)?;
    ensure!(
        kept.iter().all(|file| still_kept.contains(file)),
        "{still_kept:#?}"
    );
    world.verify()?;
    Ok(())
}

/// Rows that a table refused in a run, with the code and the message of the first reason.
fn refusal<'a>(report: &'a Value, table: &str) -> Result<(u64, &'a str, &'a str)> {
    let tables = report["transform"]["tables"].as_array();
    let table = tables
        .into_iter()
        .flatten()
        .find(|transformed| transformed["table"] == table)
        .with_context(|| format!("{table} was not made: {report:#}"))?;
    let reason = &table["reasons"][0];
    let text = |field: &str| reason[field].as_str().unwrap_or_default();
    let rows = table["rows_rejected"].as_u64().unwrap_or_default();
    Ok((rows, text("code"), text("message")))
}

fn quarantined(world: &World) -> Result<Vec<String>> {
    let files = world.files()?.into_iter();
    Ok(files.filter(|file| file.contains("/rejects-")).collect())
}

/// Writes to totesys, wherever it is.
async fn write(world: &World, sql: &str) -> Result<()> {
    match world.source.strip_prefix("sqlite://") {
        Some(path) => Ok(rusqlite::Connection::open(path)?.execute_batch(sql)?),
        None => execute(&world.source, sql).await,
    }
}
