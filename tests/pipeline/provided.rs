//! A warehouse that was there before: its schema, its columns, its foreign keys.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill::demo::Oddity;
use tidemill_tests::oracle;
use tidemill_tests::postgres::{connect, execute};
use tidemill_tests::star::Star;

use super::world::{At, Beginning, World};

const PROVIDED: &str = include_str!("provided.sql");

/// The column that the provided tables lack.
const MISSING: (&str, &str) = ("dim_counterparty", "counterparty_legal_district");

/// Working days that pass.
const DAYS: u32 = 4;

#[tokio::test]
async fn a_provided_warehouse_is_loaded_by_the_names_of_its_columns() -> Result<()> {
    let mut world = World::begin(Beginning {
        schema: "star",
        edits: &[("[warehouse]\n", "[warehouse]\nschema = \"star\"\n")],
        // What takes no row out of a dimension that a fact refers to.
        oddities: vec![
            Oddity::BumpedUnits,
            Oddity::Refunds,
            Oddity::EditsBack,
            Oddity::EnteredAgain,
            Oddity::NewCurrency,
            Oddity::Moves,
            Oddity::FutureDates,
        ],
        ..Beginning::at(At::Postgres)
    })
    .await?;
    execute(&world.star, PROVIDED).await?;
    let columns = columns(&world).await?;
    let report = run(&mut world).await.context("the first run")?;
    let noted = notes(&report, MISSING.0);
    ensure!(
        noted.contains(MISSING.1),
        "the missing column is told: {noted}"
    );
    for _ in 0..DAYS {
        let day = world.live().await?;
        run(&mut world)
            .await
            .with_context(|| format!("after {}", day.date))?;
    }
    ensure!(
        self::columns(&world).await? == columns,
        "provided tables stay as they are"
    );
    let defaults =
        "SELECT count(*) FROM fact_sales_order WHERE booked_by <> 'nobody' OR remark IS NOT NULL";
    ensure!(
        world.value(defaults).await? == "0",
        "columns of others keep their defaults"
    );
    let elsewhere = connect(&world.star).await?;
    let made = elsewhere
        .query(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'",
            &[],
        )
        .await?;
    ensure!(made.is_empty(), "{made:?} are in another schema");
    delete_what_facts_refer_to(&mut world).await?;
    rebuild(&mut world).await
}

/// Every table made anew: provided ones keep their columns and what others put there, and rows that facts refer to stay.
async fn rebuild(world: &mut World) -> Result<()> {
    let before = columns(world).await?;
    let kept = "SELECT count(*) FROM dim_transaction WHERE transaction_id = 1";
    let star = oracle::expected(&world.source).await?;
    let names = star.tables.keys().map(String::as_str);
    let arguments: Vec<&str> = ["rebuild"].into_iter().chain(names).collect();
    let said = world.call(&arguments)?;
    ensure!(matches!(said.code, Some(0 | 3)), "{said:#?}");
    ensure!(
        said.stdout.contains("kept"),
        "what was kept is told: {said:#?}"
    );
    ensure!(
        columns(world).await? == before,
        "provided tables stay as they are"
    );
    ensure!(world.value(kept).await? == "1", "the history refers to it");
    let expected = oracle::expected(&world.source).await?.facts();
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    let differences = expected.differences(&found);
    ensure!(differences.is_none(), "{}", differences.unwrap_or_default());
    world.live().await?;
    world.done(&["run"])?;
    let expected = oracle::expected(&world.source).await?.facts();
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    let differences = expected.differences(&found);
    ensure!(differences.is_none(), "{}", differences.unwrap_or_default());
    world.verify()?;
    Ok(())
}

/// A transaction is gone with its payment, and the payment's history still refers to it.
async fn delete_what_facts_refer_to(world: &mut World) -> Result<()> {
    execute(
        &world.source,
        "DELETE FROM payment WHERE transaction_id = 1; DELETE FROM transaction WHERE transaction_id = 1",
    )
    .await?;
    let report = world.done(&["run"])?;
    let expected = oracle::expected(&world.source).await?.facts();
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    let differences = expected.differences(&found);
    ensure!(differences.is_none(), "{}", differences.unwrap_or_default());
    let kept = "SELECT count(*) FROM dim_transaction WHERE transaction_id = 1";
    ensure!(world.value(kept).await? == "1", "the history refers to it");
    let noted = notes(&report, "dim_transaction");
    ensure!(!noted.is_empty(), "that it was kept is told: {report:#}");
    Ok(())
}

/// Runs; everything that the provided tables have room for must be what the source implies.
async fn run(world: &mut World) -> Result<Value> {
    let report = world.done(&["run"])?;
    world.evolution.run();
    let mut expected = oracle::expected(&world.source).await?;
    let (table, column) = MISSING;
    let rows = expected.tables.get_mut(table).context(table)?;
    let place = rows.columns.iter().position(|name| name == column);
    let place = place.context(column)?;
    rows.columns.remove(place);
    rows.rows.iter_mut().for_each(|row| drop(row.remove(place)));
    rows.rows.sort();
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    let differences = expected.differences(&found);
    ensure!(differences.is_none(), "{}", differences.unwrap_or_default());
    oracle::check_dates(world.warehouse.as_ref(), &expected).await?;
    world.evolution.check(world.warehouse.as_ref()).await?;
    Ok(report)
}

/// What a load noted about a table.
fn notes(report: &Value, table: &str) -> String {
    let landings = report["load"]["landings"].as_array();
    let tables = landings
        .into_iter()
        .flatten()
        .filter_map(|landing| landing["tables"].as_array());
    let notes = tables
        .flatten()
        .filter(|loaded| loaded["table"] == table)
        .filter_map(|loaded| loaded["notes"].as_array());
    let texts: Vec<&str> = notes.flatten().filter_map(Value::as_str).collect();
    texts.join("\n")
}

/// The columns of the provided tables.
async fn columns(world: &World) -> Result<Vec<String>> {
    let sql = "SELECT format('%s.%s %s', relname, attname, format_type(atttypid, atttypmod)) \
         FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid \
         WHERE relnamespace = 'star'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped \
         ORDER BY relname, attnum";
    let found = connect(&world.star).await?.query(sql, &[]).await?;
    Ok(found.iter().map(|row| row.get(0)).collect())
}
