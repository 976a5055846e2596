//! The column cursor: equal, late and future timestamps, and what only a compare finds.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tidemill_tests::postgres::{connect, execute};

use super::world::{At, Beginning, World, extracted};

const BY_COLUMN: &[(&str, &str)] = &[(
    "exclude = [",
    "cursor  = \"last_updated\"\noverlap = \"2m\"\nexclude = [",
)];

async fn begin() -> Result<World> {
    let world = World::begin(Beginning {
        edits: BY_COLUMN,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run_and_compare(&[]).await?;
    Ok(world)
}

/// A design that was entered at the time that `sql` gives.
async fn enter(world: &World, sql: &str) -> Result<()> {
    let sql = format!(
        "INSERT INTO design (design_name, file_location, file_name, created_at, last_updated) \
         SELECT 'Tide', '/tide', 'tide.json', at, at FROM (SELECT ({sql})::timestamp(3) AS at) entered"
    );
    execute(&world.source, &sql).await
}

/// Rows of design that a run read, that it found new, and that it found changed.
fn found(report: &Value) -> Result<[Option<u64>; 3]> {
    let design = extracted(report, "design")?;
    Ok(["rows_read", "rows_new", "rows_changed"].map(|count| design[count].as_u64()))
}

/// The watermark of design after a run.
fn watermark(report: &Value) -> Result<DateTime<Utc>> {
    let value = &extracted(report, "design")?["watermark_after"]["value"]["value"];
    let micros = value
        .as_i64()
        .with_context(|| format!("no watermark in {report:#}"))?;
    DateTime::from_timestamp_micros(micros).context("a watermark out of range")
}

#[tokio::test]
async fn equal_and_late_timestamps_are_neither_lost_nor_repeated() -> Result<()> {
    let world = begin().await?;
    let newest = "SELECT max(last_updated) FROM design";
    for (when, what) in [
        (newest.to_owned(), "at the watermark"),
        (newest.to_owned(), "at the watermark again"),
        (
            format!("({newest}) - interval '1 minute'"),
            "within the overlap",
        ),
    ] {
        enter(&world, &when).await?;
        let report = world.run_and_compare(&[]).await.context(what)?;
        let [read, new, changed] = found(&report)?;
        ensure!((new, changed) == (Some(1), Some(0)), "{what}: {report:#}");
        ensure!(
            read > Some(1),
            "{what}: the overlap was not read again: {report:#}"
        );
    }
    let report = world.run_and_compare(&[]).await?;
    let [read, new, changed] = found(&report)?;
    ensure!(
        read >= Some(3),
        "the overlap was not read again: {report:#}"
    );
    ensure!((new, changed) == (Some(0), Some(0)), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_commits_after_a_run_is_found_within_the_overlap() -> Result<()> {
    let world = begin().await?;
    enter(&world, "clock_timestamp() AT TIME ZONE 'UTC'").await?;
    let late = connect(&world.source).await?;
    late.batch_execute(
        "BEGIN; UPDATE design SET file_name = 'late.json', \
         last_updated = clock_timestamp() AT TIME ZONE 'UTC' WHERE design_id = 1",
    )
    .await?;
    enter(&world, "clock_timestamp() AT TIME ZONE 'UTC'").await?;
    world.run_and_compare(&[]).await?;
    late.batch_execute("COMMIT").await?;
    let report = world.run_and_compare(&[]).await?;
    let [_, new, changed] = found(&report)?;
    ensure!((new, changed) == (Some(0), Some(1)), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_row_of_the_future_is_landed_and_hides_nothing() -> Result<()> {
    let world = begin().await?;
    enter(
        &world,
        "(clock_timestamp() AT TIME ZONE 'UTC') + interval '2 days'",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    ensure!(found(&report)?[1] == Some(1), "{report:#}");
    let clock = report["extract"][0]["logical_time"].as_str();
    let clock: DateTime<Utc> = clock.context("no logical time")?.parse()?;
    let watermark = watermark(&report)?;
    ensure!(
        watermark <= clock,
        "{watermark} is past {clock}, the source's clock"
    );
    // The clock of the others is right: what they enter lies before the row of the future.
    for _ in 0..2 {
        enter(&world, "clock_timestamp() AT TIME ZONE 'UTC'").await?;
        let report = world.run_and_compare(&[]).await?;
        let [_, new, changed] = found(&report)?;
        ensure!((new, changed) == (Some(1), Some(0)), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn silent_edits_and_deletes_are_found_when_rows_are_compared() -> Result<()> {
    let world = begin().await?;
    execute(
        &world.source,
        "UPDATE sales_order SET staff_id = staff_id % 20 + 1 WHERE sales_order_id = 1; \
         DELETE FROM sales_order WHERE sales_order_id = 2",
    )
    .await?;
    world.done(&["run"])?;
    let missed = world.compare().await;
    let missed = missed
        .err()
        .context("a column cursor cannot see it")?
        .to_string();
    ensure!(missed.contains("fact_sales_order: "), "{missed}");
    let report = world.run_and_compare(&["--reconcile"]).await?;
    let orders = extracted(&report, "sales_order")?;
    ensure!(orders["window"]["method"] == "compare", "{orders:#}");
    ensure!(
        orders["rows_changed"] == 1 && orders["rows_deleted"] == 1,
        "{orders:#}"
    );
    let versions = "SELECT count(*) FROM fact_sales_order WHERE sales_order_id = 1";
    ensure!(world.value(versions).await? == "2", "the edit is a version");
    Ok(())
}
