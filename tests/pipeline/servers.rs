//! What servers do to rows behind the back of a cursor: the cases in which ids of transactions tell nothing,
//! or tell it in another way than by a write.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::{Server, connect, database_of, execute};

use super::world::{At, Beginning, World, extracted, report_of};

/// A world that has run once, on a server of its own where `server` gives one.
async fn begin(server: Option<Arc<Server>>) -> Result<World> {
    let world = World::begin(Beginning {
        warehouse: At::Folder,
        server,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run_and_compare(&[]).await?;
    Ok(world)
}

/// A server on which a transaction can be prepared and a standby can follow.
fn own_server() -> Option<Arc<Server>> {
    Some(Arc::new(Server::start(
        "max_prepared_transactions = 4\nwal_level = replica\nmax_wal_senders = 4\n",
    )))
}

/// How a run read a table, and why where it compared.
fn read(report: &Value, table: &str) -> Result<String> {
    let window = &extracted(report, table)?["window"];
    let method = window["method"].as_str().context("a window has a method")?;
    let reason = window["reason"]["reason"].as_str();
    Ok(reason.map_or_else(|| method.to_owned(), |reason| format!("{method}: {reason}")))
}

/// What a run found in a table: new, changed, deleted.
fn is_found(report: &Value, table: &str, expected: [u64; 3]) -> Result<()> {
    let counts = extracted(report, table)?;
    let found = ["rows_new", "rows_changed", "rows_deleted"].map(|count| counts[count].as_u64());
    ensure!(
        found == expected.map(Some),
        "{table} had {found:?}: {report:#}"
    );
    Ok(())
}

fn is_read(report: &Value, table: &str, expected: &str) -> Result<()> {
    let read = read(report, table)?;
    ensure!(read == expected, "{table} was read by `{read}`: {report:#}");
    Ok(())
}

const EDIT: &str = "UPDATE sales_order SET units_sold = units_sold + 1 WHERE sales_order_id = 1";

#[tokio::test]
async fn frozen_rows_are_not_read_again_and_hide_no_edit() -> Result<()> {
    let world = begin(None).await?;
    execute(&world.source, EDIT).await?;
    execute(&world.source, "VACUUM (FREEZE, ANALYZE)").await?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "snapshot")?;
    is_found(&report, "sales_order", [0, 1, 0])?;
    execute(&world.source, "VACUUM (FULL, FREEZE)").await?;
    let report = world.run_and_compare(&[]).await?;
    is_found(&report, "sales_order", [0, 0, 0])?;
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_emptied_and_filled_again_lands_only_what_differs() -> Result<()> {
    let world = begin(None).await?;
    execute(
        &world.source,
        "CREATE TEMP TABLE kept AS TABLE payment; TRUNCATE payment; \
         INSERT INTO payment SELECT * FROM kept WHERE payment_id <> 3; \
         UPDATE payment SET paid = NOT paid WHERE payment_id = 5",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "payment", "compare: count-differs")?;
    is_found(&report, "payment", [0, 1, 1])?;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_stays_open_over_several_runs_is_found_when_it_ends() -> Result<()> {
    let world = begin(None).await?;
    let long = connect(&world.source).await?;
    long.batch_execute(&format!("BEGIN; {EDIT}")).await?;
    for order in 2..5 {
        let edit = EDIT.replace("= 1", &format!("= {order}"));
        execute(&world.source, &edit).await?;
        let report = world.run_and_compare(&[]).await?;
        is_found(&report, "sales_order", [0, 1, 0])?;
    }
    long.batch_execute("COMMIT").await?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "snapshot")?;
    is_found(&report, "sales_order", [0, 1, 0])?;
    Ok(())
}

#[tokio::test]
async fn a_column_that_is_added_with_a_default_is_compared() -> Result<()> {
    let world = begin(None).await?;
    execute(
        &world.source,
        "ALTER TABLE design ADD COLUMN licence text NOT NULL DEFAULT 'CC0'",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "design", "compare: schema-changed")?;
    let designs = extracted(&report, "design")?["rows_live"].as_u64();
    let designs = designs.context("designs are counted")?;
    is_found(&report, "design", [0, designs, 0])?;
    // One that is NULL everywhere changes no row.
    execute(&world.source, "ALTER TABLE design ADD COLUMN note text").await?;
    let report = world.run_and_compare(&[]).await?;
    is_found(&report, "design", [0, 0, 0])?;
    Ok(())
}

#[tokio::test]
async fn a_partition_that_is_attached_is_found_by_the_count() -> Result<()> {
    let world = begin(None).await?;
    execute(
        &world.source,
        "CREATE TABLE visit (visit_id int NOT NULL, page text, PRIMARY KEY (visit_id)) PARTITION BY RANGE (visit_id); \
         CREATE TABLE visit_a PARTITION OF visit FOR VALUES FROM (0) TO (100); \
         CREATE TABLE visit_b (visit_id int NOT NULL, page text, PRIMARY KEY (visit_id)); \
         INSERT INTO visit SELECT n, 'a' FROM generate_series(0, 49) n; \
         INSERT INTO visit_b SELECT n, 'b' FROM generate_series(100, 119) n",
    )
    .await?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "visit", "first")?;
    is_found(&report, "visit_b", [20, 0, 0])?;
    // Ids far above are decided and landed before the partition comes with its old ones.
    execute(&world.source, EDIT).await?;
    world.run_and_compare(&[]).await?;
    let attach = "ALTER TABLE visit ATTACH PARTITION visit_b FOR VALUES FROM (100) TO (200)";
    execute(&world.source, attach).await?;
    let said = world.call(&["extract", "--table", "visit"])?;
    ensure!(said.code == Some(0), "{said:#?}");
    let report = report_of(&said)?;
    is_read(&report, "visit", "compare: count-differs")?;
    is_found(&report, "visit", [20, 0, 0])?;
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_is_found_when_it_is_decided() -> Result<()> {
    let world = begin(own_server()).await?;
    execute(
        &world.source,
        &format!("BEGIN; {EDIT}; PREPARE TRANSACTION 'later'"),
    )
    .await?;
    for _ in 0..2 {
        execute(&world.source, &EDIT.replace("= 1", "= 2")).await?;
        world.run_and_compare(&[]).await?;
    }
    execute(&world.source, "COMMIT PREPARED 'later'").await?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "snapshot")?;
    is_found(&report, "sales_order", [0, 1, 0])?;
    Ok(())
}

#[tokio::test]
async fn a_restored_copy_on_another_server_is_compared() -> Result<()> {
    let mut world = begin(None).await?;
    let other = Server::start("");
    let restored = other.fresh_database().await;
    world.copy_to(&restored).await?;
    execute(&restored, EDIT).await?;
    execute(&restored, "DELETE FROM payment WHERE payment_id = 2").await?;
    read_from(&mut world, restored);
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "compare: other-system")?;
    is_found(&report, "sales_order", [0, 1, 0])?;
    is_found(&report, "payment", [0, 0, 1])?;
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "snapshot")?;
    Ok(())
}

/// From here on the project reads from `url`.
fn read_from(world: &mut World, url: String) {
    world.project.set("TOTESYS_URL", &url);
    world.source = url;
}

#[tokio::test]
async fn a_snapshot_that_is_too_many_transactions_ago_is_compared() -> Result<()> {
    let world = begin(own_server()).await?;
    execute(&world.source, EDIT).await?;
    let client = connect(&world.source).await?;
    let next = client
        .query_one("SELECT pg_current_xact_id()::text::bigint", &[])
        .await?;
    let next = u64::try_from(next.get::<_, i64>(0))?;
    drop(client);
    // Once around the circle of 32 bits: every row looks as old as it did.
    world.server.skip_to_transaction((1 << 32) + next + 10);
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "compare: too-old")?;
    is_found(&report, "sales_order", [0, 1, 0])?;
    Ok(())
}

#[tokio::test]
async fn a_standby_answers_like_its_primary() -> Result<()> {
    let mut world = begin(own_server()).await?;
    execute(&world.source, EDIT).await?;
    execute(&world.source, "DELETE FROM payment WHERE payment_id = 2").await?;
    let standby = world.server.standby();
    let url = standby.url(database_of(&world.source));
    read_from(&mut world, url);
    let report = world.run_and_compare(&[]).await?;
    is_read(&report, "sales_order", "snapshot")?;
    is_found(&report, "sales_order", [0, 1, 0])?;
    is_read(&report, "payment", "compare: count-differs")?;
    Ok(())
}
