//! Rows that modules refuse: kept with their reason, absent from the star, and loaded once they are right.

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

/// Rows that were good become rows that nobody can read: of facts, of a dimension that is made from changes, and of
/// one that is made anew, by the department that it looks up.
const SPOIL_GOOD_ONES: &str = "
    UPDATE sales_order SET agreed_delivery_date = '2023-02-31' WHERE sales_order_id = 1;
    UPDATE purchase_order SET agreed_delivery_date = 'later' WHERE item_code = 'GOOD';
    UPDATE payment SET payment_date = '' WHERE payment_id = 1;
    UPDATE currency SET currency_code = 'xxx' WHERE currency_id = 1;
    UPDATE department SET location = NULL WHERE department_id = (SELECT min(department_id) FROM staff);";

/// One is spoilt in another way, one is deleted, the rest stays as it is.
const SPOIL_AGAIN: &str = "
    UPDATE sales_order SET agreed_delivery_date = 'never', units_sold = 1 WHERE sales_order_id = 1;
    DELETE FROM purchase_order WHERE item_code = 'GOOD';";

#[tokio::test]
async fn refused_rows_wait_in_quarantine_beside_an_embedded_warehouse() -> Result<()> {
    refuse(At::Folder).await
}

#[tokio::test]
async fn refused_rows_wait_in_quarantine_in_a_bucket() -> Result<()> {
    refuse(At::Bucket).await
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
    spoil_and_mend(&world, &kept).await
}

/// A good row that is edited into a bad one is absent until it is mended; what was kept of others stays.
async fn spoil_and_mend(world: &World, kept: &[String]) -> Result<()> {
    let before = Good::read(world).await?;
    write(world, SPOIL_GOOD_ONES).await?;
    let said = world.project.call(["run"])?;
    ensure!(said.code == Some(3), "rows were refused: {said:#?}");
    let told = format!("{}{}", said.stdout, said.stderr);
    for why in ["fact_sales_order", "agreed_delivery_date"] {
        ensure!(told.contains(why), "people read why: {told}");
    }
    absent_with_history(world).await?;
    write(world, SPOIL_AGAIN).await?;
    let report = world.run_and_compare(&[]).await?;
    let again = made(&report, "fact_sales_order")?;
    ensure!(again["rows_retracted"] == 1, "it is told again: {again:#}");
    absent_with_history(world).await?;
    before.enter_again(world).await?;
    let said = world.call(&["run"])?;
    ensure!(said.code == Some(0), "every row is good again: {said:#?}");
    world.compare().await?;
    for (sql, wanted) in [
        (CURRENT, "1"),
        (VERSIONS, "2"),
        (
            "SELECT count(*) FROM fact_purchase_orders_current WHERE item_code = 'BAD'",
            "1",
        ),
        (
            "SELECT count(*) FROM fact_purchase_orders_current WHERE item_code = 'GOOD'",
            "0",
        ),
        (
            "SELECT count(*) FROM fact_purchase_orders WHERE item_code = 'GOOD'",
            "1",
        ),
        (
            "SELECT count(*) FROM dim_currency WHERE currency_code = 'CHF'",
            "1",
        ),
        (
            "SELECT count(*) FROM dim_currency WHERE currency_id = 1",
            "1",
        ),
    ] {
        let found = world.value(sql).await?;
        ensure!(found == wanted, "{sql} gives {found} instead of {wanted}");
    }
    let still_kept = quarantined(world)?;
    ensure!(
        kept.iter().all(|file| still_kept.contains(file)),
        "{still_kept:#?}"
    );
    world.verify()?;
    Ok(())
}

const CURRENT: &str = "SELECT count(*) FROM fact_sales_order_current WHERE sales_order_id = 1";
const VERSIONS: &str = "SELECT count(*) FROM fact_sales_order WHERE sales_order_id = 1";

/// The spoilt rows are nowhere in what is current, and their history is neither lost nor longer.
async fn absent_with_history(world: &World) -> Result<()> {
    world.compare().await?;
    for (sql, wanted) in [
        (CURRENT, "0"),
        (VERSIONS, "1"),
        (
            "SELECT count(*) FROM fact_purchase_orders_current WHERE item_code = 'GOOD'",
            "0",
        ),
        (
            "SELECT count(*) FROM fact_purchase_orders WHERE item_code = 'GOOD'",
            "1",
        ),
        (
            "SELECT count(*) FROM fact_payment_current WHERE payment_id = 1",
            "0",
        ),
        (
            "SELECT count(*) FROM dim_currency WHERE currency_id = 1",
            "0",
        ),
    ] {
        let found = world.value(sql).await?;
        ensure!(found == wanted, "{sql} gives {found} instead of {wanted}");
    }
    Ok(())
}

/// What the good rows held that are spoilt.
struct Good {
    units_sold: String,
    agreed_delivery_date: String,
    payment_date: String,
    currency_code: String,
}

impl Good {
    async fn read(world: &World) -> Result<Self> {
        let order = "FROM fact_sales_order_current WHERE sales_order_id = 1";
        Ok(Self {
            units_sold: world.value(&format!("SELECT units_sold {order}")).await?,
            agreed_delivery_date: world
                .value(&format!("SELECT agreed_delivery_date {order}"))
                .await?,
            payment_date: world
                .value("SELECT payment_date FROM fact_payment_current WHERE payment_id = 1")
                .await?,
            currency_code: world
                .value("SELECT currency_code FROM dim_currency WHERE currency_id = 1")
                .await?,
        })
    }

    /// Everything as it was, to the letter: each is a new version all the same.
    async fn enter_again(&self, world: &World) -> Result<()> {
        let Self {
            units_sold,
            agreed_delivery_date,
            payment_date,
            currency_code,
        } = self;
        let mend = format!(
            "UPDATE purchase_order SET agreed_delivery_date = '2023-01-03' WHERE item_code = 'BAD';
             UPDATE currency SET currency_code = 'CHF' WHERE currency_code = 'XXQ';
             UPDATE sales_order SET agreed_delivery_date = '{agreed_delivery_date}', units_sold = {units_sold}
             WHERE sales_order_id = 1;
             UPDATE payment SET payment_date = '{payment_date}' WHERE payment_id = 1;
             UPDATE currency SET currency_code = '{currency_code}' WHERE currency_id = 1;
             UPDATE department SET location = 'Leeds' WHERE location IS NULL;"
        );
        write(world, &mend).await
    }
}

#[tokio::test]
async fn a_row_spoilt_and_mended_between_two_loads_is_ended_and_comes_back() -> Result<()> {
    for place in [At::Folder, At::Postgres] {
        let world = World::begin(Beginning::at(place)).await?;
        world.run_and_compare(&[]).await?;
        let good = Good::read(&world).await?;
        write(&world, SPOIL_GOOD_ONES).await?;
        world.done(&["extract"])?;
        good.enter_again(&world).await?;
        world.done(&["extract"])?;
        // One run transforms and loads both landings, the spoilt one first.
        let report = world.run_and_compare(&[]).await?;
        let reason = refusal(&report, "fact_sales_order")?;
        ensure!((reason.0, reason.1) == (1, "bad-date"), "{reason:?}");
        ensure!(world.value(CURRENT).await? == "1", "it is current");
        ensure!(world.value(VERSIONS).await? == "2", "it came back");
        world.verify()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_null_where_none_may_be_takes_the_row_out_of_its_dimension() -> Result<()> {
    let world = World::begin(Beginning::at(At::Postgres)).await?;
    world.run_and_compare(&[]).await?;
    let spoil = "ALTER TABLE design ALTER COLUMN design_name DROP NOT NULL;
        ALTER TABLE address ALTER COLUMN city DROP NOT NULL;
        UPDATE design SET design_name = NULL WHERE design_id = 1;
        UPDATE address SET city = NULL
        WHERE address_id = (SELECT min(legal_address_id) FROM counterparty);";
    write(&world, spoil).await?;
    let report = world.run_and_compare(&[]).await?;
    // The counterparty is refused for the address that it looks up.
    for table in ["dim_design", "dim_location", "dim_counterparty"] {
        let (_, code, _) = refusal(&report, table)?;
        ensure!(code == "missing-value", "{table}: {code}");
    }
    let gone = "SELECT count(*) FROM dim_design WHERE design_id = 1";
    ensure!(world.value(gone).await? == "0", "the design is gone");
    Ok(())
}

/// What a run says of a table that it made.
fn made<'a>(report: &'a Value, table: &str) -> Result<&'a Value> {
    let tables = report["transform"]["tables"].as_array();
    tables
        .into_iter()
        .flatten()
        .find(|transformed| transformed["table"] == table)
        .with_context(|| format!("{table} was not made: {report:#}"))
}

/// Rows that a table refused in a run, with the code and the message of the first reason.
fn refusal<'a>(report: &'a Value, table: &str) -> Result<(u64, &'a str, &'a str)> {
    let table = made(report, table)?;
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
