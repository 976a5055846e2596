//! What a watermark misses and the snapshot cursor of PostgreSQL finds, without `--reconcile`.

use anyhow::{Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::{connect, execute};

use super::world::{At, Beginning, World, extracted};

/// A design with a time that lies years before every watermark.
const OLD_DESIGN: &str = "INSERT INTO design (design_name, file_location, file_name, created_at, last_updated) \
     VALUES ('Late', '/late', 'late.json', '2022-11-03 09:00', '2022-11-03 09:00')";

async fn begin() -> Result<World> {
    let world = World::begin(Beginning::at(At::Postgres)).await?;
    world.run_and_compare(&[]).await?;
    Ok(world)
}

#[tokio::test]
async fn what_commits_after_a_run_that_it_began_before_is_found() -> Result<()> {
    let world = begin().await?;
    let (plain, nested) = (connect(&world.source).await?, connect(&world.source).await?);
    plain.batch_execute(&format!("BEGIN; {OLD_DESIGN}")).await?;
    // Ids of subtransactions are assigned later than their parent's, and a released one leaves no trace.
    nested
        .batch_execute(&format!(
            "BEGIN; UPDATE staff SET first_name = 'Parent' WHERE staff_id = 1; \
             SAVEPOINT inner_one; {OLD_DESIGN}; \
             UPDATE sales_order SET units_sold = units_sold + 1 WHERE sales_order_id = 1; \
             SAVEPOINT innermost; {OLD_DESIGN}; \
             RELEASE innermost; RELEASE inner_one"
        ))
        .await?;
    // Others go on meanwhile, so that ids far above are decided and landed first.
    for _ in 0..3 {
        execute(&world.source, OLD_DESIGN).await?;
        let report = world.run_and_compare(&[]).await?;
        ensure!(new_rows(&report, "design")? == Some(1), "{report:#}");
    }
    plain.batch_execute("COMMIT").await?;
    let report = world.run_and_compare(&[]).await?;
    ensure!(new_rows(&report, "design")? == Some(1), "{report:#}");
    nested.batch_execute("COMMIT").await?;
    let report = world.run_and_compare(&[]).await?;
    ensure!(new_rows(&report, "design")? == Some(2), "{report:#}");
    ensure!(method(&report, "design")? == "snapshot", "{report:#}");
    let versions = "SELECT count(*) FROM fact_sales_order WHERE sales_order_id = 1";
    ensure!(
        world.value(versions).await? == "2",
        "one edit is one more version"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_rolled_back_is_never_landed() -> Result<()> {
    let world = begin().await?;
    let session = connect(&world.source).await?;
    session
        .batch_execute(&format!(
            "BEGIN; {OLD_DESIGN}; SAVEPOINT doubtful; {OLD_DESIGN}; ROLLBACK TO doubtful"
        ))
        .await?;
    let report = world.run_and_compare(&[]).await?;
    ensure!(new_rows(&report, "design")? == Some(0), "{report:#}");
    session.batch_execute("COMMIT").await?;
    let report = world.run_and_compare(&[]).await?;
    ensure!(new_rows(&report, "design")? == Some(1), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn deletes_are_found_because_the_count_differs() -> Result<()> {
    let world = begin().await?;
    execute(
        &world.source,
        "DELETE FROM sales_order WHERE sales_order_id IN (2, 3)",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    let orders = extracted(&report, "sales_order")?;
    ensure!(orders["rows_deleted"] == 2, "{orders:#}");
    ensure!(
        orders["window"]["reason"]["reason"] == "count-differs",
        "{orders:#}"
    );
    // The database itself emptied the references, and no clock of the application moved.
    ensure!(
        extracted(&report, "transaction")?["rows_changed"] == 2,
        "{report:#}"
    );
    // One comes and one goes: as many rows as before.
    execute(
        &world.source,
        &format!("DELETE FROM design WHERE design_id = (SELECT max(design_id) FROM design d \
                  WHERE NOT EXISTS (SELECT FROM sales_order o WHERE o.design_id = d.design_id)); {OLD_DESIGN}"),
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    let designs = extracted(&report, "design")?;
    ensure!(
        designs["rows_deleted"] == 1 && designs["rows_new"] == 1,
        "{designs:#}"
    );
    let current = "SELECT count(*) FROM fact_sales_order_current WHERE sales_order_id IN (2, 3)";
    ensure!(
        world.value(current).await? == "0",
        "deleted orders are not current"
    );
    let history = "SELECT count(*) FROM fact_sales_order WHERE sales_order_id IN (2, 3)";
    ensure!(
        world.value(history).await? == "2",
        "and their history stays"
    );
    Ok(())
}

fn new_rows(report: &Value, table: &str) -> Result<Option<u64>> {
    Ok(extracted(report, table)?["rows_new"].as_u64())
}

fn method<'a>(report: &'a Value, table: &str) -> Result<&'a str> {
    Ok(extracted(report, table)?["window"]["method"]
        .as_str()
        .unwrap_or_default())
}
